"use strict";
// Filters the articles of a list by source and by words.
function filter(list) {
  const source = document.querySelector(`[data-source-of="${list}"]`)?.value ?? "";
  const words = document.querySelector(`[data-words-of="${list}"]`).value.toLowerCase().split(/\s+/).filter(Boolean);
  const articles = [...document.querySelectorAll(`[data-list="${list}"]`)];
  for (const article of articles) {
    const text = article.textContent.toLowerCase();
    article.hidden = (source && article.dataset.source !== source) || !words.every((word) => text.includes(word));
  }
  const shown = articles.filter((article) => !article.hidden).length;
  document.querySelector(`[data-count-of="${list}"]`).textContent = `${shown} of ${articles.length}`;
}
for (const field of document.querySelectorAll("[data-source-of], [data-words-of]")) {
  field.addEventListener("input", () => filter(field.dataset.sourceOf ?? field.dataset.wordsOf));
}
