"""Tables of any dialect, and rows that find their cases whatever the order."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.datasets.folder.cases import CaseFile, file_cases
from meshops.datasets.folder.mappings import assigned
from meshops.datasets.folder.matching import CaseRows, Owners, add_tables, match_rows
from meshops.datasets.folder.named_numbers import named_numbers
from meshops.datasets.folder.patterns import case_names, matches, pattern_of, select
from meshops.datasets.folder.roles import (
    field_role,
    is_geometry,
    is_result,
    likely_unit,
    quantity_role,
    unit_in,
)
from meshops.datasets.folder.tables import Table, read_table
from meshops.datasets.folder.walk import skeleton
from meshops.errors import InputError


def table(path: Path, text: str, encoding: str = "utf-8") -> Table:
    path.write_bytes(text.encode(encoding))
    return read_table(path)


@pytest.mark.parametrize("mark", [",", ";", "\t", ", ", " ;"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_dialects(tmp_path: Path, mark: str, encoding: str) -> None:
    text = mark.join(["case", '"speed [m/s]"', "Kraft (N)", "größe"]) + "\r\n" + mark.join(["a", "3.5", '"-1e3"', ""])
    found = table(tmp_path / "t.csv", text, encoding)
    assert found.columns == ("case", "speed", "Kraft", "größe")
    assert found.units == {"speed": "m/s", "Kraft": "N"}
    assert found.numeric("speed") == [3.5] and found.numeric("Kraft") == [-1000.0] and found.numeric("größe") is None


def test_decimal_commas_comments_and_ends(tmp_path: Path) -> None:
    found = table(tmp_path / "t.csv", "# by hand\ncase;p [kg/(m s^2)];\n# one more\na;1,5;\nb;2;\n\n")
    assert found.columns == ("case", "p") and found.units == {"p": "kg/(m s^2)"} and found.numeric("p") == [1.5, 2.0]
    found = table(tmp_path / "t.csv", "#case,x\na,1\n")
    assert found.columns == ("case", "x")
    found = table(tmp_path / "t.csv", "static(p)_coeff,x\n1,2\n")
    assert found.columns == ("static(p)_coeff", "x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a header"),
        ("a,b\n", "expected a header"),
        ("a,a\n1,2\n", "'a' is there twice"),
        ("a,b\n1,2,3\n", "line 2: 3 values for 2 columns"),
        ("1,2\n3,4\n", "has no header"),
        ("a\x00b,c\n1,2\n", "is no text"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        table(tmp_path / "t.csv", text)


@pytest.mark.parametrize(
    ("name", "text", "columns", "units", "values"),
    [
        ("a.json", '{"physics": {"q": {"value": 2.5, "unit": "W"}, "inlet": {"T": 300}}, "out": {"T": 310}}',
         ("q", "inlet.T", "out.T"), {"q": "W"}, [["2.5", "300", "310"]]),
        ("a.json", '{"r1": {"q": 1}, "r2": {"q": 2}, "r3": {"q": 3, "note": null}}', ("case", "q", "note"), {},
         [["r1", "1", ""], ["r2", "2", ""], ["r3", "3", ""]]),
        ("a.json", '[{"id": 1, "q": 1.5}, {"id": 2, "q": 2.5}]', ("id", "q"), {}, [["1", "1.5"], ["2", "2.5"]]),
        ("a.yaml", "cases: {id: [1, 2, 3], q: [4, 5, 6]}", ("id", "q"), {}, [["1", "4"], ["2", "5"], ["3", "6"]]),
        ("a.toml", "[flow]\nspeed = 30.0\naxis = [1, 0, 0]", ("speed", "axis_0", "axis_1", "axis_2"), {},
         [["30.0", "1", "0", "0"]]),
        ("a.txt", "# inlet\nspeed = 30 m/s\nT_in [K]: 300\nsolver = simple\n", ("speed", "T_in"),
         {"speed": "m/s", "T_in": "K"}, [["30", "300"]]),
        ("a.txt", "name   alpha  M\nr1  2.5   0.3\nr2  5.0  0.4\n", ("name", "alpha", "M"), {},
         [["r1", "2.5", "0.3"], ["r2", "5.0", "0.4"]]),
        ("a.csv", "case;L;F\n;[mm];[N]\nr1;1,5;3\nr2;2;4\n", ("case", "L", "F"), {"L": "mm", "F": "N"},
         [["r1", "1.5", "3"], ["r2", "2", "4"]]),
    ],
)  # fmt: skip
def test_parameters_of_every_kind(
    tmp_path: Path, name: str, text: str, columns: tuple[str, ...], units: dict[str, str], values: list[list[str]]
) -> None:
    found = table(tmp_path / name, text)
    assert found.columns == columns and dict(found.units) == units
    assert [list(row) for row in found.rows] == values


@pytest.mark.parametrize(
    ("text", "column", "values", "unit"),
    [
        ("Study of May;;\n;;\ncase;L [mm];q\na;1,5;3\nb;2,5;4\n", "L", [1.5, 2.5], "mm"),
        ("Study of May\n\ncase,L,q\na,1,2\nb,2,3\n", "q", [2.0, 3.0], ""),
        ("case;F;L\na;1.234,56;2,5\nb;2.000,00;3\n", "F", [1234.56, 2000.0], ""),
        ('case,F,L\na,"1,234.56",2.5\nb,"2,000.00",3\n', "F", [1234.56, 2000.0], ""),
        ("case;F\na;12 345,5\nb;2 000,0\n", "F", [12345.5, 2000.0], ""),
        ("case;F\na;1'234.5\nb;2'000.0\n", "F", [1234.5, 2000.0], ""),
        ("case,L,q\na,5 mm,3\nb,6 mm,4\n", "L", [5.0, 6.0], "mm"),
        ("case,eta\na,12 %\nb,13%\n", "eta", [12.0, 13.0], "%"),
        ('case,L\na,"1,5"\nb,"2,25"\n', "L", [1.5, 2.25], ""),
        ("case;L\na;1,234\nb;2,345\n", "L", [1.234, 2.345], ""),
        ('case,L\na,"1,234"\nb,"2,345"\n', "L", None, ""),  # thousands or decimals: not guessed
        ("case;L\na;\u22121,5\nb;2\n", "L", [-1.5, 2.0], ""),
        ("case;n\na;1.5D+03\nb;2.5D+03\n", "n", [1500.0, 2500.0], ""),
        ("case,v\na,1.2.3\nb,1.2.4\n", "v", None, ""),
        ("case,d\na,12x4\nb,12x5\n", "d", None, ""),
        ("size,q\n5mm,1\n6mm,2\n", "size", None, ""),  # names of cases
        ("size,x,y\n1,2,3\n", "x", [2.0], ""),
    ],
)
def test_numbers_as_people_write_them(
    tmp_path: Path, text: str, column: str, values: list[float] | None, unit: str
) -> None:
    found = table(tmp_path / "t.csv", text)
    assert found.numeric(column) == values and found.units.get(column, "") == unit


def test_a_long_text_behind_a_number_takes_no_time(tmp_path: Path) -> None:
    text = "a" * 200
    assert table(tmp_path / "t.csv", f"case,n\na,3 {text}_\nb,3 {text}_\n").numeric("n") is None
    assert assigned("\n".join(f"{'a b ' * 60}x{i}" for i in range(50))) is None


def test_a_header_longer_than_its_rows_is_no_title(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: 2 values for 3 columns"):
        table(tmp_path / "t.csv", "case,L,\na,1\nb,2\n")


def test_a_workbook_is_a_table(tmp_path: Path) -> None:
    """Shared and inline texts, a title above the header, a column left empty, a formula, an error."""
    sheet = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="3"><c r="A3" t="s"><v>1</v></c>'
        '<c r="C3" t="inlineStr"><is><t>q [W]</t></is></c><c r="D3" t="s"><v>2</v></c></row>'
        '<row r="4"><c r="A4" t="s"><v>3</v></c><c r="C4"><f>1+1.5</f><v>2.5</v></c>'
        '<c r="D4" t="e"><v>#N/A</v></c></row>'
    )
    found = read_table(write_workbook(tmp_path / "t.xlsx", sheet, ["Cooling study", "run", "T max", "r1"]))
    assert found.columns == ("run", "q", "T max") and found.units == {"q": "W"} and found.rows == (("r1", "2.5", ""),)
    for raw in (b"", b"PK\x03\x04 cut", b"\xd0\xcf\x11\xe0 old"):
        (tmp_path / "t.xlsx").write_bytes(raw)
        with pytest.raises(InputError, match=r"is no workbook that can be read .*save it again"):
            read_table(tmp_path / "t.xlsx")
    grown = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    for raw in (grown.encode("utf-16"), grown.replace("utf-16", "utf-8").encode()):
        with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
            archive.writestr("xl/sharedStrings.xml", raw)
        with pytest.raises(InputError, match=r"'xl/sharedStrings.xml' declares entities or is not UTF-8"):
            read_table(tmp_path / "t.xlsx")


def write_workbook(path: Path, rows: str, texts: list[str]) -> Path:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    link = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{link}"><sheets><sheet name="A" r:id="x1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="p"><Relationship Id="x1" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/sharedStrings.xml", f'<sst xmlns="{main}">{"".join(f"<si><t>{text}</t></si>" for text in texts)}</sst>'
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>'
        )
    return path


def cases(names: list[str]) -> tuple[CaseFile, ...]:
    return file_cases(Path("x"), sorted(PurePosixPath(name) for name in names), folders=False)


def rows(header: list[str], cells: list[list[str]]) -> Table:
    return Table(Path("t.csv"), tuple(header), {}, tuple(tuple(row) for row in cells))


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 9999), min_size=2, max_size=12, unique=True),
    style=st.sampled_from(["run_{}", "{}", "{:05d}", "case-{}_v2", "a{}b", "mesh.{}"]),
    cell=st.sampled_from(["{}", "{}.0", "0{}", "run_{}", "Case {}"]),
    seed=st.integers(0, 99),
)
def test_numbers_find_their_cases_in_any_order(numbers: list[int], style: str, cell: str, seed: int) -> None:
    """Whatever the order of the rows, the row with the number of a case is its row."""
    order = list(numbers)
    random.Random(seed).shuffle(order)
    found = match_rows(
        rows(["speed", "id"], [[f"{n + 0.5}", cell.format(n)] for n in order]),
        cases([style.format(n) + ".vtu" for n in numbers]),
    )
    assert set(found.rows) == {style.format(n) for n in numbers} and found.how in ("number", "name")
    for n in numbers:
        assert order[found.rows[style.format(n)]] == n


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text("abcXYZ-_ é", min_size=1, max_size=8).filter(lambda t: t.strip() == t and t[0] not in "._"),
                   min_size=2, max_size=10, unique_by=str.casefold),
    form=st.sampled_from(["{}", "{}.vtu", "results/{}.vtu", "C:\\runs\\{}.vtu", " {} "]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_names_find_their_cases_in_any_order(names: list[str], form: str, seed: int) -> None:
    order = list(names)
    random.Random(seed).shuffle(order)
    found = match_rows(
        rows(["x", "case"], [["1", form.format(name)] for name in order]), cases([f"{name}.vtu" for name in names])
    )
    assert {order[row] for row in found.rows.values()} == set(names)
    assert all(order[row] == name for name, row in found.rows.items())


def test_order_is_used_only_where_nothing_else_fits_and_counts_agree() -> None:
    named = cases(["ape.vtu", "bee.vtu", "cat.vtu"])
    assert match_rows(rows(["x"], [["1.5"], ["2"], ["3"]]), named).how == "order"
    assert match_rows(rows(["x"], [["1.5"], ["2"]]), named).rows == {}
    assert match_rows(rows(["name", "x"], [["dog", "1"], ["eel", "2"], ["fox", "3"]]), named).rows == {}


def test_values_in_the_names_find_their_rows() -> None:
    """Order would be wrong here, and numbers of the names are no numbers of rows."""
    table = rows(
        ["aoa", "mach", "drag"], [["3.5", "0.8", "3"], ["-1.5", "0.8", "1"], ["-1.5", "0.9", "2"], ["3.5", "0.9", "9"]]
    )
    names = ["aoa_-1.5_mach_0.8.vtu", "aoa_-1.5_mach_0.9.vtu", "aoa_3.5_mach_0.8.vtu", "aoa_3.5_mach_0.9.vtu"]
    found = match_rows(table, cases(names))
    assert found.how == "values in the name" and [found.rows[n[:-4]] for n in names] == [1, 2, 0, 3]
    table = rows(["geometry", "aoa"], [["geoB", "5"], ["geoA", "5"], ["geoA", "0"], ["geoB", "0"]])
    nested = [f"geo{g}/aoa_{a}/r.vtu" for g in "AB" for a in (0, 5)]
    found = match_rows(table, file_cases(Path("x"), [PurePosixPath(n) for n in nested], folders=True))
    assert found.how == "values in the name" and list(found.rows.values()) == [2, 1, 3, 0]
    assert pattern_of([PurePosixPath(name) for name in names[1::2]]) == "aoa_*_mach_0.9.vtu"


def test_cases_from_0_and_rows_from_1_are_not_one_off() -> None:
    """Numbers alone would give each case the row before its own."""
    found = match_rows(
        rows(["id", "x"], [[str(i + 1), str(i)] for i in range(5)]), cases([f"run_{i}.vtu" for i in range(5)])
    )
    assert found.how == "order" and found.rows == {f"run_{i}": i for i in range(5)}


def test_some_rows_may_have_no_case_and_some_cases_no_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("run,x\n1,10\n2,20\n4,40\n9,90\n")
    out = CaseRows()
    add_tables(out, [PurePosixPath("t.csv")], tmp_path, cases(["run_1.vtu", "run_2.vtu", "run_3.vtu", "run_4.vtu"]))
    assert out.values == {"run_1": {"x": 10.0}, "run_2": {"x": 20.0}, "run_4": {"x": 40.0}}
    assert [match.row for match in out.matches if not match.case] == ["9"]


def test_a_table_of_other_cases_names_both_sides(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,x\nape,1\nbee,2\n")
    with pytest.raises(InputError, match=r"no row fits a case; rows 'ape', 'bee', cases 'run_1', 'run_2', 'run_3'"):
        add_tables(CaseRows(), [PurePosixPath("t.csv")], tmp_path, cases([f"run_{i}.vtu" for i in (1, 2, 3)]))


@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.text("ab1[]*?{}!. _-ü", min_size=1, max_size=6), min_size=1, max_size=6, unique=True))
def test_a_pattern_takes_all_it_was_made_of(names: list[str]) -> None:
    paths = [PurePosixPath("runs", name, "x.vtu") for name in names if name not in (".", "..")]
    if paths:
        pattern = pattern_of(paths)
        assert all(matches(path, pattern) for path in paths), pattern
        assert not matches(PurePosixPath("runs", "deep", "er", "x.vtu"), pattern)


def test_patterns_stay_within_a_part_and_leave_strangers() -> None:
    mine = [PurePosixPath(f"run_{i}/surface_{i}.vtp") for i in (1, 2, 10)]
    other = [PurePosixPath(f"run_{i}/surface_mean_{i}.vtp") for i in (1, 2, 10)]
    assert pattern_of(mine) == "run_*/surface_*.vtp"
    assert select([*mine, *other], pattern_of(mine, other)) == mine
    assert case_names(mine, folders=True) == ["run_1", "run_2", "run_10"]
    assert select(mine, "**/*_10.vtp") == [mine[2]]


def test_roles_and_results() -> None:
    assert [field_role(n, k) for n, k in (("p", 1), ("wallShearStressMean", 3), ("UMean", 3), ("von Mises", 1),
            ("displacement", 3), ("T", 1), ("Ux", 1), ("fluid", 1))] == [
        "pressure", "shear", "velocity", "stress", "displacement", "temperature", "velocity", ""]  # fmt: skip
    results = (
        "cd",
        "Cl",
        "drag",
        "max_stress",
        "maxDisplacement",
        "pressure loss",
        "efficiency",
        "temperature_max",
        "Fx",
    )
    assert all(is_result(name) for name in results)
    assert not any(is_result(name) for name in ("speed", "aoa", "thickness", "radius", "load", "ride height", "mach"))
    assert [quantity_role(n) for n in ("aoa", "speed [x]", "Cd", "U_inf")] == ["angle", "", "drag", "speed"]
    assert is_geometry("GlobalNodeId") and is_geometry("vtkOriginalPointIds") and not is_geometry("solid_fraction")
    assert likely_unit("pressure", 9.9e4, 1.02e5)[0] == "Pa" and likely_unit("pressure", -1.0, 1.0)[0] == ""
    assert likely_unit("temperature", 290, 400)[0] == "K"


def test_loads_of_parts_are_conditions_and_forces_of_flows_are_results() -> None:
    part, flow = ["displacement", "stress"], ["pressure", "shear"]
    loads = ("force", "Load_kN", "tip_load", "Fx", "torque", "moment_Nm", "force_z")
    assert not any(is_result(name, part) for name in loads)
    assert all(is_result(name, flow) for name in ("force", "Fx", "torque", "moment_Nm", "force_z"))
    assert all(is_result(name, part) for name in ("reaction_force", "max_load", "max_moment_Nm", "max_disp_mm", "mass"))
    assert not any(
        is_result(name, kind) for name in ("applied_force", "inlet_temperature", "T_in") for kind in (part, flow)
    )


@pytest.mark.parametrize(
    ("column", "unit", "result"),
    [("mass_kg", "kg", True), ("max_stress_MPa", "MPa", True), ("thickness_mm", "mm", False), ("load_N", "N", False),
     ("drag [N]", "N", True),
     ("Static Pressure (Pa)", "Pa", False), ("T [°C]", "°C", False),
     ("case_n", "", False), ("speed_mps", "m/s", False), ("T_K", "K", False)],
)  # fmt: skip
def test_units_at_the_end_of_a_name(column: str, unit: str, result: bool) -> None:
    assert unit_in(column)[1] == unit
    assert is_result(column) is result


def test_names_in_other_languages() -> None:
    results = (
        "Druckverlust",
        "Wirkungsgrad",
        "max. Spannung",
        "Durchbiegung",
        "perte_de_charge",
        "rendement",
        "trainée",
    )
    assert all(is_result(name) for name in results)
    assert not any(is_result(name) for name in ("Geschwindigkeit", "Dichte", "Winkel", "Wandstärke", "Last", "vitesse"))
    assert [field_role(n) for n in ("Temperatur", "Druck", "Static Pressure [Pa]", "Vergleichsspannung")] == [
        "temperature", "pressure", "pressure", "stress"]  # fmt: skip
    assert quantity_role("Anstellwinkel") == "angle" and quantity_role("Einlassgeschwindigkeit") == "speed"


def test_stresses_are_not_called_pascals_where_they_are_small() -> None:
    assert likely_unit("stress", 0.0, 34.8)[0] == "" and likely_unit("stress", 0.0, 3e7)[0] == "Pa"


def test_numbers_named_in_paths() -> None:
    def found(*paths: str) -> dict[str, dict[str, float]]:
        return {n: dict(f.values) for n, f in named_numbers({path: PurePosixPath(path) for path in paths}).items()}

    assert found("sol_a=0.5.vtu", "sol_a=3.vtu") == {"sol_a": {"sol_a=0.5.vtu": 0.5, "sol_a=3.vtu": 3.0}}
    both = found("aoa_-2.5_mach_0.8/out.vtu", "aoa_3_mach_0.75/out.vtu")
    assert {name: list(values.values()) for name, values in both.items()} == {"aoa": [-2.5, 3.0], "mach": [0.8, 0.75]}
    assert not found("run_1.vtu", "run_2.vtu") and not found("a_0.5.vtu", "b_0.5.vtu", "c.vtu")
    assert not found("m_0.8_1.vtu", "m_0.8_2.vtu")  # the same in all


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("naca_a-2.5_M0.30/s.vtu", "naca_a5.0_M0.20/s.vtu"), {"a": [-2.5, 5.0], "M": [0.3, 0.2]}),
        (("beam_L0.5_F3051.vtu", "beam_L0.7_F20.vtu"), {"L": [0.5, 0.7], "F": [3051.0, 20.0]}),
        (("w_a2p5_M0p30.vtu", "w_a-7p5_M0p45.vtu"), {"a": [2.5, -7.5], "M": [0.3, 0.45]}),
        (("flow_AOA+1.25.vtu", "flow_AOA-3.50.vtu"), {"AOA": [1.25, -3.5]}),
        (("U30_h200.vtu", "U10_h250.vtu", "U30_h300.vtu"), {"U": [30.0, 10.0, 30.0], "h": [200.0, 250.0, 300.0]}),
        (("speed-20.vtu", "speed-30.vtu"), {"speed": [20.0, 30.0]}),
        (("angle_1.vtu", "angle_2.vtu", "angle_3.vtu"), {"angle": [1.0, 2.0, 3.0]}),
        (("job1234_a2.5.vtu", "job1300_a5.0.vtu"), {"a": [2.5, 5.0]}),
        (("naca2412_a2.5.vtu", "naca0012_a5.0.vtu"), {"a": [2.5, 5.0]}),
        (("aoa_2.5", "aoa_5.0"), {"aoa": [2.5, 5.0]}),
        (("mesh3.vtu", "mesh7.vtu"), {}),
        (("car-3.vtu", "car-7.vtu", "car-9.vtu"), {}),
        (("run_003_x.vtu", "run_010_x.vtu"), {}),
        (("h5mm.vtu", "h2cm.vtu"), {}),
    ],
)
def test_quantities_and_labels_in_names(paths: tuple[str, ...], expected: dict[str, list[float]]) -> None:
    found = named_numbers({path: PurePosixPath(path) for path in paths})
    assert {name: list(named.values.values()) for name, named in found.items()} == expected


def test_units_in_names() -> None:
    found = named_numbers({name: PurePosixPath(name) for name in ("F=30N_T300K.msh", "F=45N_T310K.msh")})
    assert {name: named.unit for name, named in found.items()} == {"F": "N", "T": "K"}


def test_a_row_without_a_number_does_not_bring_the_others_out_of_order() -> None:
    """One label of another kind, and rows in any order: each of the others still goes to the case of its number."""
    labels = ["KK-3", "KK-1", "prototype", "KK-4"]
    found = match_rows(
        rows(["variant", "q"], [[label, "1"] for label in labels]), cases([f"sink {i}.vtu" for i in (1, 2, 3, 4)])
    )
    assert found.how == "number" and dict(found.rows) == {"sink 1": 1, "sink 3": 0, "sink 4": 3}


def test_rows_whose_labels_do_not_ascend_are_not_taken_by_order() -> None:
    named = cases(["ape.vtu", "bee.vtu", "cat.vtu"])
    assert match_rows(rows(["id", "x"], [["7", "1"], ["8", "2"], ["9", "3"]]), named).how == "order"
    assert match_rows(rows(["id", "x"], [["9", "1"], ["7", "2"], ["8", "3"]]), named).rows == {}


def test_signs_and_fractions_do_not_part_files_that_are_named_alike() -> None:
    names = ("wing_a-2.5", "wing_a5", "wing_a+7.5", "wing_a2p5", "wing_a1e-3")
    assert {skeleton(name) for name in names} == {"wing_a#"} and skeleton("run_12_v2") == "run_#_v#"


def test_files_find_the_case_they_belong_to() -> None:
    """By folder, by the whole name, by a name with something before or after it, by number; else no one's."""
    flat = Owners(cases(["run_1.vtu", "run_10.vtu", "wing.vtu"]))
    owned = {"run_1.json": "run_1", "run_10_forces.csv": "run_10", "forces_wing.csv": "wing", "case10.txt": "run_10"}
    for name, case in owned.items():
        found = flat.of(PurePosixPath(name))
        assert found is not None and found.name == case
    assert flat.of(PurePosixPath("table.csv")) is None and flat.of(PurePosixPath("swing.csv")) is None
    nested = Owners(file_cases(Path("x"), [PurePosixPath(f"r{i}/out/a.vtu") for i in (1, 2)], folders=True))
    inside = nested.of(PurePosixPath("r2/deep/er/in.json"))
    assert inside is not None and inside.relative.parts[0] == "r2" and nested.of(PurePosixPath("in.json")) is None
