#!/usr/bin/env bash
# README followed by somebody new, in a clone of its own with empty caches; each step with its wall and processor time.
#
#   benchmarks/first_ten_minutes.sh FOLDER mine.jsonl
#
# FOLDER is made, and must not exist. mine.jsonl holds at least 3,000 rows in a layout that is recognised by itself.
# Prints a Markdown table; the output of step N is FOLDER/N.log. A step that fails is marked and the next one runs.
# Table and findings: benchmarks/first_ten_minutes.md.
set -u
[ $# = 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
repository=$(cd "$(dirname "$0")/.." && pwd)
data=$(realpath "$2")
mkdir "$1" || exit 2
cd "$1" || exit 2
folder=$PWD
export SFTDIV_CACHE=$folder/store HF_HOME=$folder/hf WANDB_MODE=offline
unset PYTHONPATH
TIMEFORMAT="%R %U %S"
number=0

step() {  # step TITLE COMMAND...
  local title=$1 code
  shift
  number=$((number + 1))
  { time "$@" > "$folder/$number.log" 2>&1; echo "$?" > "$folder/code"; } 2> "$folder/time"
  code=$(cat "$folder/code")
  awk -v title="$title" -v command="$*" -v failed="$([ "$code" = 0 ] || echo ", exit code $code")" \
    '{printf "| %s | `%s` | %.0f s%s | %.0f s |\n", title, command, $1, failed, $2 + $3}' "$folder/time"
}

echo "| step | command | wall | processor |"
echo "| --- | --- | --- | --- |"
step "clone" git clone --quiet "$repository" sftdiv
cd sftdiv || exit 1
step "install" make .venv/.installed  # as make demo does
. .venv/bin/activate
cp "$data" mine.jsonl
head -n 1000 mine.jsonl > other.jsonl
step "what is installed" sftdiv doctor
step "select" sftdiv run corpus=files corpus.path=mine.jsonl size=1k diversity_level=1 stop_after=select embedder=none export.format=sharegpt
step "measure" sftdiv measure corpus=files corpus.path=mine.jsonl
step "compare two" sftdiv measure corpus=files corpus.path=mine.jsonl baseline=other.jsonl
step "fine-tune" sftdiv run corpus=files corpus.path=mine.jsonl strategy=micro_token diversity_level=1 size=0.5k embedder=none model.pretrain.steps=500
step "sweep of three levels" sftdiv run -m corpus=files corpus.path=mine.jsonl strategy=micro_token diversity_level=0,1/2,1 size=0.5k embedder=none model.pretrain.steps=500 report.bundle=true study=first
cat > quickstart.py <<'END'
import sftdiv

subset = sftdiv.select("mine.jsonl", n=1_000, strategy="micro_token", side="response", level=1.0)
subset.save("train.jsonl", format="sharegpt")
report = sftdiv.measure("mine.jsonl", baseline="other.jsonl")
print(report.table)
report.to_html("report.html")
study = sftdiv.analyze("multirun/first")
print(study.slopes, study.correlations, study.figure("performance_by_level"))
END
step "from Python" python quickstart.py
