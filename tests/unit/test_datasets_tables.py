"""Tables of the release with anything at all in them: a clear error or a table, never a crash."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench import cards
from avsbench.datasets import reader
from avsbench.datasets.avsbench_files import read_csv
from avsbench.datasets.clip import COLUMNS, SPLITS
from avsbench.errors import AvsbenchError
from tests.unit.rendered import own, rendered, small_card  # noqa: F401 - fixtures

HEADS = {
    "s4": ["name", "start", "category", "split"],
    "ms3": ["video_id", "split"],
    "avss": ["vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"],
    "vpo_ss": ["img_Id", "ann_Ids", "cateName", "cateId", "vgg_file", "split", "audio_pos"],
    "vpo_msmi": ["img_Id", "ann_Ids", "cateName", "cateId", "vgg_file", "split", "audio_pos", "multi_instance"],
}
CELL = st.sampled_from(
    ["train", "val", "test", "v1s", "v2", "dog", "1", "-1", "0.5", "1e400", "nan", "", "..", "a/b", "\0", '"', "9" * 30]
) | st.text(max_size=6)


@pytest.fixture(scope="session")
def tops(tmp_path_factory):
    """Function: data set, bytes of its csv -> what the reader's table is, or what the reader says is wrong."""
    top = tmp_path_factory.mktemp("tables")
    classes = cards.dataset("avss").classes
    (top / "label2idx.json").write_text(str({name: i for i, name in enumerate(classes, 1)}).replace("'", '"'))

    def table(name, content):
        card = cards.dataset(name)
        file = top / card.release["table"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        try:
            return reader(card, top).table()
        except AvsbenchError as error:
            return str(error)

    return table


def check(result, name):
    if isinstance(result, str):
        assert cards.dataset(name).release["table"].rsplit("/")[-1] in result
    else:
        assert list(result.columns) == COLUMNS
        assert set(result["split"]) <= set(SPLITS)


@settings(max_examples=50, deadline=None)
@given(name=st.sampled_from(sorted(HEADS)), content=st.binary(max_size=300))
def test_any_bytes(name, content, tops):
    check(tops(name, content), name)


@settings(max_examples=50, deadline=None)
@given(name=st.sampled_from(sorted(HEADS)), content=st.binary(max_size=300))
def test_a_good_head_and_any_bytes(name, content, tops):
    check(tops(name, ",".join(HEADS[name]).encode() + b"\n" + content), name)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_cells(data, tops):
    name = data.draw(st.sampled_from(sorted(HEADS)))
    width = len(HEADS[name])
    rows = data.draw(st.lists(st.lists(CELL, min_size=width - 1, max_size=width + 1), max_size=6))
    text = io.StringIO()
    csv.writer(text).writerows([HEADS[name], *rows])
    check(tops(name, text.getvalue().encode("utf-8", "surrogatepass")), name)


@pytest.mark.parametrize("text", ["name,split\na,train,b\nc,val,\n", "name,split\na,train,\nb,val,\nc,test,\n"])
def test_cells_beyond_the_header_are_not_dropped(tmp_path, text):
    table = tmp_path / "ms3_meta_data.csv"
    table.write_text(text)
    with pytest.raises(AvsbenchError, match="more cells than the header names") as caught:
        read_csv(table, ["split"])
    assert "3 cells" in str(caught.value)


FAULTS = {
    "a column": ("s4", lambda t: t.drop(columns="category"), r"lacks the column category(.|\n)*name, start"),
    "a split": ("ms3", lambda t: t[t.split != "val"], "no clip of the split val"),
    "an unknown split": ("ms3", lambda t: t.assign(split=["valid", *t.split[1:]]), r"csv:2: unknown split 'valid'"),
    "a clip twice": ("ms3", lambda t: pd.concat([t, t.iloc[:1]]), r"csv:11: the clip .* stands twice"),
    "an unknown part": ("avss", lambda t: t.assign(label=["v3", *t.label[1:]]), r"csv:2: unknown label 'v3'"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_the_table_is_named_with_its_place(kind, own):  # noqa: F811
    name, change, says = FAULTS[kind]
    root = own(name)
    path = root / cards.dataset(name).release["table"]
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)
    with pytest.raises(AvsbenchError, match=says) as caught:
        reader(small_card(name), root).table()
    assert path.name in str(caught.value)


def test_a_missing_and_an_empty_table_are_named(own):  # noqa: F811
    path = own("s4") / "s4_meta_data.csv"
    path.write_text("")
    with pytest.raises(AvsbenchError, match=r"s4_meta_data\.csv: the table cannot be read"):
        reader(small_card("s4"), path.parent).table()
    path.unlink()
    with pytest.raises(AvsbenchError, match=r"s4_meta_data\.csv: no such table"):
        reader(small_card("s4"), path.parent).table()
