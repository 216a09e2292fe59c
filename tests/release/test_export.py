"""What is exported is what trainers read: loaded with `datasets` as they do, trained on with TRL, held
against the documented schemas."""

from __future__ import annotations

import json
import math

import datasets
import pytest
import yaml

from sftdiv.records import SftdivError
from sftdiv.release.export.entries import llama_factory_entry
from sftdiv.release.export.lineage import free_name, lineage, sha256, verify_export, write_lineage
from sftdiv.release.export.write_export import FORMATS, write_export

SHORT = [("user", "Name a fruit."), ("assistant", "Apple")]
BRIEF = [("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello.")]
LONG = [
    ("system", "Be brief."),
    ("user", "Hi."),
    ("assistant", "Hello."),
    ("user", "Näxt\n\u2028?"),
    ("assistant", "{%}\n"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def messages(turns):
    return [{"role": role, "content": content} for role, content in turns]


def corpus_rows(*talks, **columns):
    """Rows as a corpus holds them, with texts in the large types."""
    text = datasets.Value("large_string")
    turns = datasets.LargeList({"role": datasets.Value("string"), "content": text})
    rows = {
        "id": [f"id-{number}" for number in range(len(talks))],
        "messages": [messages(turns) for turns in talks],
        "instruction": [turns[-2][1] for turns in talks],
        "response": [turns[-1][1] for turns in talks],
        "source": ["web"] * len(talks),
        "group": ["0"] * len(talks),
        "heldout": [False] * len(talks),
        **columns,
    }
    made = datasets.Dataset.from_dict(rows)
    return made.cast(datasets.Features(made.features | {"messages": turns, "instruction": text, "response": text}))


def loaded(path):
    kind = "parquet" if path.suffix == ".parquet" else "json"
    return datasets.load_dataset(kind, data_files=str(path), split="train")


def test_messages_as_they_are(tmp_path):
    data, *_ = write_export(corpus_rows(SHORT, LONG), tmp_path, format="messages", name="mine")
    assert data == tmp_path / "mine.jsonl"
    assert data.read_text().split("\n")[0] == (
        '{"messages": [{"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Apple"}]}'
    )
    assert loaded(data).to_list() == [{"messages": messages(SHORT)}, {"messages": messages(LONG)}]


def test_sharegpt_has_the_system_prompt_as_a_turn(tmp_path):
    data, *_ = write_export(corpus_rows(SHORT, BRIEF), tmp_path, format="sharegpt", name="mine")
    assert loaded(data)["conversations"][:] == [
        [{"from": "human", "value": "Name a fruit."}, {"from": "gpt", "value": "Apple"}],
        [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "Hi."},
            {"from": "gpt", "value": "Hello."},
        ],
    ]


def test_alpaca_with_and_without_system_and_history(tmp_path):
    short = {"instruction": "Name a fruit.", "input": "", "output": "Apple"}
    brief = {"instruction": "Hi.", "input": "", "output": "Hello."}
    last = {"instruction": "Näxt\n\u2028?", "input": "", "output": "{%}\n"}
    exports = {
        "short.jsonl": (corpus_rows(SHORT), [short]),
        "brief.jsonl": (corpus_rows(SHORT, BRIEF), [short | {"system": ""}, brief | {"system": "Be brief."}]),
        "plain.json": (
            corpus_rows(SHORT, LONG[1:]),
            [short | {"history": []}, last | {"history": [["Hi.", "Hello."]]}],
        ),
        "long.json": (
            corpus_rows(SHORT, LONG),
            [short | {"system": "", "history": []}, last | {"system": "Be brief.", "history": [["Hi.", "Hello."]]}],
        ),
    }
    for file, (rows, expected) in exports.items():
        data, *_ = write_export(rows, tmp_path, format="alpaca", name=file.partition(".")[0])
        assert data == tmp_path / file
        assert loaded(data).to_list() == expected


@pytest.mark.parametrize("format", ["sharegpt", "alpaca"])
def test_what_only_a_late_row_has_loads_too(tmp_path, format):
    """`datasets` infers columns and types from the first 10 MB of JSON; the only system prompt and history
    stand behind them."""
    talks = [[("user", "x" * 2000), ("assistant", "y")]] * 5500
    data, *_ = write_export(corpus_rows(*talks, LONG), tmp_path, format=format, name="mine")
    read = loaded(data)
    assert len(read) == 5501
    if format == "alpaca":
        assert (read[-1]["system"], read[-1]["history"]) == ("Be brief.", [["Hi.", "Hello."]])
    else:
        assert [turn["from"] for turn in read[-1]["conversations"]] == ["system", "human", "gpt", "human", "gpt"]


def test_parquet_holds_ids_messages_and_carried_columns_in_plain_types(tmp_path):
    import pyarrow.parquet as pq

    rows = corpus_rows(SHORT, LONG, task=["fruit", "talk"], tags=[["a", "b"], []]).select([1, 0])
    data, *_ = write_export(rows, tmp_path, format="parquet", name="mine")
    read = loaded(data)
    assert read.column_names == ["id", "messages", "source", "task", "tags"]
    assert read[0] == {"id": "id-1", "messages": messages(LONG), "source": "web", "task": "talk", "tags": []}
    assert "large" not in str(pq.read_schema(data))


def test_llama_factory_entries_follow_its_readme(tmp_path):
    # LLaMA-Factory, data/README.md, "OpenAI Format": {"file_name": "data.json", "formatting": "sharegpt",
    # "columns": {"messages": "messages"}, "tags": {"role_tag": "role", "content_tag": "content",
    # "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}}. "Alpaca Format":
    # "columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system",
    # "history": "history"}. "Sharegpt Format": "formatting": "sharegpt", "columns": {"messages":
    # "conversations"}; tag defaults from, value, human, gpt and "system_tag": "... (default: system, can
    # override system column)".
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    openai = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    alpaca = {"prompt": "instruction", "query": "input", "response": "output"}
    write_export(corpus_rows(LONG), tmp_path, format="messages", name="talk")
    write_export(corpus_rows(LONG), tmp_path, format="parquet", name="table")
    write_export(corpus_rows(LONG), tmp_path, format="sharegpt", name="share")
    write_export(corpus_rows(LONG), tmp_path, format="alpaca", name="alpaca")
    write_export(corpus_rows(SHORT), tmp_path, format="alpaca", name="short")
    assert json.loads((tmp_path / "dataset_info.json").read_text()) == {
        "talk": {"file_name": "talk.jsonl", **openai},
        "table": {"file_name": "table.parquet", **openai},
        "share": {"file_name": "share.jsonl", "formatting": "sharegpt", "columns": {"messages": "conversations"}},
        "alpaca": {"file_name": "alpaca.json", "columns": alpaca | {"system": "system", "history": "history"}},
        "short": {"file_name": "short.jsonl", "columns": alpaca},
    }


@pytest.mark.parametrize("format", FORMATS)
def test_llama_factory_would_read_the_conversation_that_was_written(tmp_path, format):
    """Its converters, as they are documented: alpaca's history, then ``instruction\\ninput``; sharegpt's
    turns told apart by the tags."""
    for talk in (SHORT, BRIEF, LONG):
        data, info, *_ = write_export(corpus_rows(talk), tmp_path, format=format, name="mine")
        entry = json.loads(info.read_text())["mine"]
        assert entry["file_name"] == data.name
        columns, row = entry["columns"], loaded(data)[0]
        assert set(columns.values()) <= set(row)
        if format == "alpaca":
            turns = [("system", row[columns["system"]])] if "system" in columns else []
            for asked, answered in row[columns["history"]] if "history" in columns else []:
                turns += [("user", asked), ("assistant", answered)]
            asked = "\n".join(part for part in (row[columns["prompt"]], row[columns["query"]]) if part)
            turns += [("user", asked), ("assistant", row[columns["response"]])]
        else:
            tags = {
                "role_tag": "from",
                "content_tag": "value",
                "user_tag": "human",
                "assistant_tag": "gpt",
                "system_tag": "system",
            }
            tags |= entry.get("tags", {})
            roles = {tags[f"{role}_tag"]: role for role in ("system", "user", "assistant")}
            turns = [(roles[turn[tags["role_tag"]]], turn[tags["content_tag"]]) for turn in row[columns["messages"]]]
        assert turns == talk


def test_axolotl_entries_follow_its_documentation(tmp_path):
    # axolotl, docs/dataset_loading.qmd: "we can just point the path to the file or directory along with the
    # ds_type"; dataset-formats: "type: chat_template", "field_messages: conversations",
    # "message_property_mappings: role: from, content: value", "roles: assistant: - gpt, user: - human";
    # inst_tune.qmd: "type: alpaca" for {"instruction", "input", "output"}, which has no system prompt or
    # history.
    write_export(corpus_rows(BRIEF), tmp_path, format="messages", name="talk")
    write_export(corpus_rows(BRIEF), tmp_path, format="parquet", name="table")
    write_export(corpus_rows(BRIEF), tmp_path, format="sharegpt", name="share")
    files = write_export(corpus_rows(BRIEF), tmp_path, format="alpaca", name="system")
    write_export(corpus_rows(SHORT), tmp_path, format="alpaca", name="short")
    chat = {"type": "chat_template", "field_messages": "messages"}
    share = {
        "type": "chat_template",
        "field_messages": "conversations",
        "message_property_mappings": {"role": "from", "content": "value"},
        "roles": {"system": ["system"], "user": ["human"], "assistant": ["gpt"]},
    }
    assert yaml.safe_load((tmp_path / "axolotl.yaml").read_text()) == {
        "datasets": [
            {"path": "talk.jsonl", "ds_type": "json", **chat},
            {"path": "table.parquet", "ds_type": "parquet", **chat},
            {"path": "share.jsonl", "ds_type": "json", **share},
            {"path": "short.jsonl", "ds_type": "json", "type": "alpaca"},
        ]
    }
    assert files == [tmp_path / "system.jsonl", tmp_path / "dataset_info.json"]
    write_export(
        corpus_rows(BRIEF), tmp_path, format="alpaca", name="short"
    )  # what replaces it has a system prompt: its entry goes
    assert "short.jsonl" not in (tmp_path / "axolotl.yaml").read_text()


def test_an_export_beside_others_leaves_them_alone(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"identity": {"file_name": "identity.json"}}')
    (tmp_path / "axolotl.yaml").write_text("base_model: x\n")
    for name in ("one", "two", "one"):
        write_export(corpus_rows(SHORT), tmp_path, format="messages", name=name)
    assert list(json.loads((tmp_path / "dataset_info.json").read_text())) == ["identity", "one", "two"]
    settings = yaml.safe_load((tmp_path / "axolotl.yaml").read_text())
    assert (settings["base_model"], [entry["path"] for entry in settings["datasets"]]) == (
        "x",
        ["two.jsonl", "one.jsonl"],
    )
    assert sorted(path.name for path in tmp_path.glob("*")) == [
        *(".export.lock", "axolotl.yaml", "dataset_info.json", "one.jsonl", "two.jsonl")
    ]


def test_a_format_that_cannot_hold_a_conversation_says_so_and_leaves_no_file(tmp_path):
    open_end = [*SHORT, ("user", "And another?")]
    tools = [SHORT[0], ("tool", "42"), SHORT[1]]
    for format, talk in (
        ("alpaca", open_end),
        ("sharegpt", open_end),
        ("alpaca", tools),
        ("sharegpt", tools),
        ("alpaca", BRIEF[:1] * 2),
    ):
        with pytest.raises(
            SftdivError,
            match=rf"format={format} cannot hold the conversation 'id-1'.*Formats that hold any turns: messages",
        ):
            write_export(corpus_rows(SHORT, talk), tmp_path, format=format, name="mine")
    assert [path.name for path in tmp_path.glob("*")] == [".export.lock"]
    data, *_ = write_export(corpus_rows(open_end), tmp_path, format="messages", name="mine")
    assert loaded(data)[0]["messages"] == messages(open_end)


def test_what_cannot_be_exported(tmp_path):
    rows = corpus_rows(SHORT)
    with pytest.raises(
        SftdivError, match=r"export.format='csv' is unknown. Known: messages, sharegpt, alpaca, parquet"
    ):
        write_export(rows, tmp_path, format="csv", name="mine")
    with pytest.raises(SftdivError, match=r"export.name='a,b' must be letters"):
        write_export(rows, tmp_path, format="messages", name="a,b")
    with pytest.raises(SftdivError, match="the subset holds no example"):
        write_export(rows.select([]), tmp_path, format="messages", name="mine")
    with pytest.raises(SftdivError, match=r"would carry prompt along, on which TRL would train instead"):
        write_export(corpus_rows(SHORT, prompt=["x"]), tmp_path, format="parquet", name="mine")
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(SftdivError, match=r"dataset_info.json exists and cannot be read"):
        write_export(rows, tmp_path, format="messages", name="mine")


def test_no_column_is_described_that_the_file_lacks():
    assert (
        "system"
        not in llama_factory_entry("x.jsonl", format="alpaca", keys=["instruction", "input", "output"])["columns"]
    )


LADDER = {"k_min": 2, "k_max": 5, "k_asked": 4, "k_reached": 4, "pool": 7, "universe": 8}
ROW = {
    **{
        "strategy": "micro_token",
        "side": "response",
        "level": 0.8,
        "size": 2,
        "seed": 3,
        "seed.ladder": 1,
        "seed.train": 2,
    },
    **{"corpus": "files", "corpus_hash": "f0", "corpus.count.read": 9, "corpus.count.duplicates": 1},
    **{"config_hash": "3f9a1c", "tokenizer.name": "words", "tokenizer.revision": None, "versions.sftdiv": "0"},
}


def record(ids, files, row=ROW | LADDER):
    created = "2026-01-01T00:00:00+00:00"
    return lineage(row, ids, files=files, format="messages", sources={"web": len(ids)}, created=created)


def test_lineage_says_where_every_export_came_from_and_notices_a_change(tmp_path):
    for name in ("one", "two"):
        data, *_ = write_export(corpus_rows(SHORT, LONG).select([1, 0]), tmp_path, format="messages", name=name)
        write_lineage(tmp_path, name, record(["id-1", "id-0"], {data.name: sha256(data)}))
    held = json.loads((tmp_path / "lineage.json").read_text())
    assert list(held) == ["one", "two"]
    assert held["one"]["ids"] == ["id-1", "id-0"]
    assert held["one"]["examples"] == 2
    assert held["one"]["selection"] == {
        **{"strategy": "micro_token", "side": "response", "level": 0.8, "size": 2, "seed": 3},
        **{"ladder_seed": 1, "train_seed": 2},
    }
    assert held["one"]["ladder"] == LADDER
    assert held["one"]["tokenizer"] == {"name": "words", "revision": None}
    assert held["one"]["versions"] == {"sftdiv": "0"}
    assert held["one"]["corpus"] == {"name": "files", "fingerprint": "f0", "counts": {"read": 9, "duplicates": 1}}
    assert verify_export(tmp_path) == [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    (tmp_path / "one.jsonl").unlink()
    (tmp_path / "two.jsonl").write_text("{}")
    with pytest.raises(SftdivError, match=r"one.jsonl is missing, two.jsonl has changed"):
        verify_export(tmp_path)
    with pytest.raises(SftdivError, match=r"holds no lineage.json"):
        verify_export(tmp_path / "elsewhere")


def test_an_export_never_replaces_another_one(tmp_path):
    ids = ["a", "b"]
    record = {"format": "messages", "examples": 2, "ids": ids}
    assert free_name(tmp_path, "cell", format="messages", ids=ids, given=False) == "cell"
    write_lineage(tmp_path, "cell", record)
    assert free_name(tmp_path, "cell", format="messages", ids=ids, given=False) == "cell"  # the same export again
    assert free_name(tmp_path, "cell", format="alpaca", ids=ids, given=False) == "cell-alpaca"
    write_lineage(tmp_path, "cell-alpaca", record | {"format": "alpaca"})
    assert free_name(tmp_path, "cell", format="alpaca", ids=ids, given=False) == "cell-alpaca"
    for settings in ({"format": "alpaca", "ids": ids}, {"format": "messages", "ids": ["b", "a"]}):
        with pytest.raises(SftdivError, match=r"holds another export named cell \(2 examples as messages\).*cell-2"):
            free_name(tmp_path, "cell", **settings, given=True)


def test_the_lineage_of_a_selector_without_a_ladder_has_none():
    without = record(["id-1"], {}, row=ROW)
    assert "ladder" not in without and without["selection"] == record(["id-1"], {})["selection"]


def test_the_digest_is_that_of_sha256sum(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, example B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL sets what transformers has renamed
@pytest.mark.parametrize("format", ["messages", "parquet"])
def test_trl_trains_a_step_on_the_file_as_it_is(tmp_path, format):
    trl = pytest.importorskip("trl")
    from transformers import LlamaConfig, LlamaForCausalLM

    from sftdiv.modeling.checkpoint import load_tokenizer
    from sftdiv.training.tokenizer import train_tokenizer

    talks = [SHORT, BRIEF, LONG, SHORT]
    data, *_ = write_export(corpus_rows(*talks), tmp_path / "export", format=format, name="mine")
    train_tokenizer([content for talk in talks for _, content in talk], tmp_path / "tokenizer", vocab_size=300)
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
    )
    trainer = trl.SFTTrainer(
        model=LlamaForCausalLM(LlamaConfig(**shape)),
        args=settings,
        train_dataset=loaded(data),
        processing_class=tokenizer,
    )
    read = [tokenizer.decode(ids) for ids in trainer.train_dataset["input_ids"]]
    assert read == [tokenizer.apply_chat_template(messages(talk), tokenize=False) for talk in talks]
    assert "<|system|>Be brief.<|user|>Hi.<|assistant|>Hello." in read[2]
    trainer.train()
    assert trainer.state.global_step == 1
    assert math.isfinite(trainer.state.log_history[-1]["train_loss"])
