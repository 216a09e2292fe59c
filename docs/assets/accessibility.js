/* Names and keyboard access that the theme's pages lack, found by axe-core (tests/docs/test_docs_site.py).
   `document$` of Material emits the document once its own scripts have wrapped tables and code. */
document$.subscribe(() => {
  document.querySelector(".md-search").setAttribute("aria-label", "Search")
  // A wide table scrolls by itself: the keyboard must reach it.
  for (const region of document.querySelectorAll(".md-typeset__scrollwrap")) region.tabIndex = 0
  // The buttons of a code block are no navigation: a page would have dozens of landmarks of one name.
  for (const buttons of document.querySelectorAll(".md-code__nav")) buttons.setAttribute("role", "none")
  // A section with a page of its own is labelled by an icon without a text: take the text of its link.
  for (const section of document.querySelectorAll("nav.md-nav[aria-labelledby]")) {
    const label = document.getElementById(section.getAttribute("aria-labelledby"))
    const link = label?.parentElement.querySelector("a.md-nav__link")
    if (label?.textContent.trim() || !link) continue
    section.removeAttribute("aria-labelledby")
    section.setAttribute("aria-label", link.textContent.trim())
  }
})
