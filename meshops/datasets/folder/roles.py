"""What names of arrays and columns mean to the people who write them: roles, likely units, inputs, results.

All of it is a guess and is said to be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# name -> role, the first that fits; names are in lower case without blanks and dashes.
FIELD_ROLES = (
    ("shear", r"(wall_?)?(shear|friction)(_?stress)?(mean|trim|avg)*|wall_?shear.*|wss|tau_?w?|skin_?friction.*|c_?f"),
    (
        "pressure",
        r"druck|p|p_?(mean|avg|rgh|static|total)\w*|\w*pressure\w*|point_scalars|c_?p|static\(p\)_coeff\w*|press",
    ),
    ("velocity", r"u|v|u_?(mean|avg)\w*|\w*velocity\w*|vel|u_?[xyz]|v_?[xyz]|velocity_?[xyz]|vitesse|geschwindigkeit"),
    ("displacement", r"\w*displacement\w*|disp\w*|u_?tot|deformation|depl|deplacement|verschiebung"),
    ("stress", r"\w*stress\w*|\w*mises\w*|s|sigma\w*|s_?mises|contrainte\w*|\w*spannung"),
    ("strain", r"\w*strain\w*|epsilon_?[xyz]{2}|e_?[xyz]{2}|peeq|\w*dehnung"),
    ("temperature", r"t|temp|\w*temperature?\w*|theta|nt11?"),
    ("heat flux", r"\w*heat_?flux\w*|q|qw"),
    ("density", r"rho|\w*density\w*|dichte"),
    ("mach", r"ma|mach\w*"),
    ("turbulence", r"k|nut|nu_?t\w*|omega|epsilon|\w*turbulen\w*|tke|mut"),
    ("concentration", r"c|\w*concentration\w*|\w*fraction\w*|alpha\w*|species\w*"),
    ("vorticity", r"\w*vorticity\w*|curl\w*"),
)
FIELD_UNITS = {"velocity": "m/s", "displacement": "m", "temperature": "K", "density": "kg/m^3", "heat flux": "W/m^2"}
QUANTITY_ROLES = (
    (
        "speed",
        r"speed|velocity|u_?(inf|ref|0|inlet|in)?|v_?(inf|ref|0|inlet|in)|\w*inlet_?velocity|freestream\w*|vel|wind_?speed|u_?in|vitesse|\w*geschwindigkeit",
    ),
    ("density", r"rho\w*|density\w*|dichte"),
    ("viscosity", r"nu|mu|\w*viscosity"),
    ("reynolds", r"re|reynolds\w*"),
    ("mach", r"ma|mach\w*"),
    ("angle", r"aoa|alpha|angle(_of_attack)?|yaw\w*|pitch\w*|beta|incidence|\w*_?angle\w*|\w*winkel"),
    ("temperature", r"t|t_?(in|inf|0|wall|amb)|\w*temperature?\w*"),
    ("pressure", r"p|p_?(in|inf|0|out|ref)|\w*pressure\w*"),
    ("load", r"load|force|traction|\w*_?load|f|moment|last|kraft"),
    ("drag", r"c_?d|drag\w*|\w*_?drag|fx|f_?d|c_?x|drag_?coefficient"),
    ("lift", r"c_?l|lift\w*|\w*_?lift|fz|f_?l|c_?z"),
    ("side force", r"c_?s|side\w*|c_?y|fy"),
    ("moment", r"c_?m\w*|\w*moment\w*|torque\w*"),
    ("frontal area", r"frontal_?area|a_?ref|ref(erence)?_?area"),
)
# Columns that came out of a simulation.
RESULTS = (
    r"c_?[dlsmxyzp]\w?|\w*drag\w*|\w*lift\w*|\w*side_?force\w*|force_?[xyz]?|forces?_?\w*|f_?[xyzdl]|\w*moment\w*|\w*torque\w*"
    r"|c_?[dls][fr](_\w+)?|max\w*|min\w*|mean\w*|avg\w*|average\w*|\w*_(max|min|mean|avg|average|rms|peak|total|out|outlet)|peak\w*"
    r"|\w*stress\w*|\w*mises\w*|\w*strain\w*|\w*deflection\w*|\w*displacement\w*|\w*loss\w*|\w*efficienc\w*|eta|\w*_?drop|dp|delta_?p"
    r"|\w*nusselt\w*|nu_?avg|\w*heat_?flux\w*|\w*heat_?transfer\w*|htc|\w*flow_?rate\w*|mdot|mass_?flow\w*|\w*frequency\w*|strouhal\w*"
    r"|\w*residual\w*|iterations?|converged|\w*compliance\w*|\w*energy\w*|\w*safety\w*|\w*objective\w*|output\w*|result\w*|target\w*|\w*thrust\w*|noise\w*|\w*temperature_max\w*|tip_\w*"
    r"|mass|weight|\w*_mass|largest_\w*|smallest_\w*|highest_\w*|lowest_\w*|\w*reaction\w*"
    r"|\w*verlust\w*|\w*wirkungsgrad\w*|\w*widerstand\w*|auftrieb\w*|\w*spannung|\w*verschiebung\w*|\w*durchbiegung\w*|\w*dehnung"
    r"|mittlere\w*|mittel\w*|masse|gewicht|ergebnis\w*|perte\w*|rendement\w*|train[eé]e\w*|portance\w*|fl[eè]che\w*|contrainte\w*"
    r"|d[eé]placement\w*|r[eé]sultat\w*|moyenne\w*"
)
# Columns that come out of a flow, but are put on a part.
LOADS = (
    r"(?!(max|min|mean|avg|average|peak|largest)_)(\w*_)?(forces?|loads?|moment|torque|traction|bending_moment)(_?[xyz])?"
    r"(_(n|kn|mn|nm|knm|lbf))?|f(_(n|kn|mn|lbf))?|f_?[xyzn]|m_?[xyz]"
)
# Said to be set in so many words.
NAMED_SET = (
    r"(?!(max|min|mean|avg|average|peak|largest)_)((applied|imposed|prescribed|inlet|inflow|input|nominal)_\w+"
    r"|\w+_(in|inlet|inflow|applied|imposed|prescribed|setpoint))"
)
# Columns that describe the shape, which the mesh shows too.
SHAPE = (
    r"(\w*_)?(length|width|height|radius|diameter|thickness|span|chord|clearance|area|taper|sweep|camber|depth|slant\w*"
    r"|fillet|wheelbase|aspect_?ratio|volume|curvature)(_\w+)?"
)
# Columns that are neither: they say how a run went.
HOUSEKEEPING = (
    r"residual\w*|\w*_residual|iterations?|n_?iter\w*|converged|wall_?time|cpu_?time|run_?time|date|time_?stamp"
    r"|cells|n_?cells|num_?cells|n_?points|n_?nodes|seed"
)
# Arrays that describe the mesh and say nothing of the solution.
GEOMETRY = (
    r"normals?\w*|\w*_normals?|n_?[xyz]|area|\w*_area|areas|cell_?(area|volume|size|id)s?\w*|volumes?|lengths?|tcoords|texture_?coordinates"
    r"|(\w*_)?ids?|\w*(point|cell|node|element|global|part|zone|object|block)_?(id|number|nr|index)s?|\w*_index|vtk\w*|coordinates?[xyz]?|coord_?[xyz]?|coordinate[xyz]|points?|pos(ition)?s?|[xyz]|\w*distance\w*|sdf|quality|aspect_?ratio|skewness|orientation"
    r"|\w*partition\w*|\w*rank|\w*ghost\w*|\w*_?type|globalids|curvature\w*|c[xyz]|centroid\w*"
)
# Arrays that were likely set rather than solved for.
SET = (
    r"coefficients?|\w*conductivity\w*|\w*permeabilit\w*|\w*diffusivit\w*|\w*thickness\w*|\w*modulus\w*|youngs?\w*|poisson\w*|\w*stiffness\w*"
    r"|\w*material\w*|\w*source_?term\w*|source|heat_?source\w*|body_?force|\w*load\w*|\w*mask\w*|\w*input\w*|porosity|boundary_?\w*|bc_?\w*|initial_?\w*|\w*_initial"
)
# What may stand at the end of a name as its unit -> as it is written.
UNITS = {
    unit: unit
    for unit in "mm cm km kg Pa kPa MPa GPa N kN MN Nm kNm K W kW Hz kHz rpm deg rad bar mbar psi lbf degC J kJ".split()
}
UNITS |= {"mps": "m/s", "kmh": "km/h", "kph": "km/h", "mph": "mph", "m2": "m^2", "mm2": "mm^2", "m3": "m^3"}
UNITS |= {"kgm3": "kg/m^3", "kgs": "kg/s", "degrees": "deg", "pa": "Pa", "mpa": "MPa", "kpa": "kPa", "kn": "kN"}
# What units in brackets are made of.
PARTS = set(UNITS) | set("m s h min g t l L C F °C °F ° % V A T H mol dB ft in um µm nm ms µs ns Ohm cP St".split())
GROUPS = (
    r"group\w*|geometry\w*|shape\w*|body|family|design_?(id|name)?|variant|geom\w*|mesh_?id|configuration|model_?id"
)
STEPS = r"(.*[-_.])?(step|time|frame|iter|iteration|t|ts|timestep|snapshot|dump|out|output|cycle)[-_.]?"


def plain(name: str) -> str:
    """A name as the tables above have it."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s\-.:]+", "_", words).strip("_").lower()


def unit_in(name: str) -> tuple[str, str]:
    """A name without the unit at its end, and that unit: ``load_kN``, ``load [kN]`` -> ``load``, ``kN``; empty: none.

    Case counts, so that ``case_n`` or ``p_m`` lose nothing by accident.
    """
    inside = re.fullmatch(r"(?P<name>.*[^\s\[(])\s*[\[(]\s*(?P<unit>[^\[\]()]+?)\s*[\])]", name.strip())
    if inside and all(part in PARTS for part in re.findall(r"[^\W\d]+|[°%µ]+\w*", inside["unit"])):
        return inside["name"], inside["unit"]
    match = re.fullmatch(r"(?P<name>.*[A-Za-z0-9])[_ \-](?P<unit>[A-Za-z0-9]+)", name.strip())
    unit = UNITS.get(match["unit"], "") if match else ""
    return (match["name"], unit) if match and unit else (name, "")


def _fits(name: str, pattern: str) -> bool:
    bare = unit_in(name)[0]
    names = (name, bare)
    variants = {f(text) for text in names for f in (plain, lambda t: re.sub(r"[\s\-.:_]+", "", t).lower())}
    variants |= {text.strip().lower() for text in names}
    return any(re.fullmatch(pattern, variant) is not None for variant in variants)


def field_role(name: str, size: int = 1) -> str:
    """Role of a field by its name and its number of components; empty: none is likely."""
    for role, pattern in FIELD_ROLES:
        if _fits(name, pattern) and not (role == "pressure" and size > 1) and not (role == "temperature" and size > 1):
            if role == "velocity" and size == 1 and plain(name) in ("u", "v"):
                continue
            if role == "shear" and plain(name) in ("tau",) and size == 1:
                continue
            return role
    return ""


def quantity_role(name: str) -> str:
    """Role of a condition or number by its name; empty: none is likely."""
    return next((role for role, pattern in QUANTITY_ROLES if _fits(name, pattern)), "")


def is_result(name: str, roles_of_fields: Iterable[str] = ()) -> bool:
    """Whether a column came out rather than was set.

    Args:
        name: Of the column.
        roles_of_fields: What the fields of the cases are: in a flow, forces come out; on a part they are loads.
    """
    if _fits(name, NAMED_SET):
        return False
    if is_structural(roles_of_fields) and _fits(name, LOADS) and "reaction" not in name.lower():
        return False
    return _fits(name, RESULTS)


def is_structural(roles_of_fields: Iterable[str]) -> bool:
    """Whether fields are of a part under load: displacements, strains or stresses, and no flow around it."""
    found = set(roles_of_fields)
    return bool(found & {"displacement", "strain", "stress"}) and not found & {"pressure", "velocity", "shear"}


def is_shape(name: str) -> bool:
    """Whether a column describes the shape, which the mesh shows too."""
    return _fits(name, SHAPE)


def is_housekeeping(name: str) -> bool:
    """Whether a column says how a run went and nothing of its result."""
    return _fits(name, HOUSEKEEPING)


def is_geometry(name: str) -> bool:
    """Whether an array describes the mesh alone."""
    return _fits(name, GEOMETRY)


def is_set(name: str) -> bool:
    """Whether an array was likely set rather than solved for."""
    return _fits(name, SET)


def is_group(name: str) -> bool:
    """Whether a column says which cases belong together."""
    return _fits(name, GROUPS)


def is_step(text: str) -> bool:
    """Whether what stands before the number of a file speaks of time."""
    return re.fullmatch(STEPS, text.lower()) is not None


def likely_unit(role: str, low: float, high: float) -> tuple[str, str]:
    """Unit of a field by its role and range, and why; two empty texts where nothing is likely."""
    largest = max(abs(low), abs(high))
    if role in ("pressure", "shear", "stress"):
        if largest == 0:
            return "", ""
        if role == "pressure" and 5e4 < low and high < 5e5:
            return "Pa", "absolute pressure near that of the atmosphere"
        if role == "stress":  # strengths of materials lie at 1e7 to 1e9 Pa
            big = largest > 1e4
            return ("Pa", f"values up to {largest:.3g}") if big else ("", f"values up to {largest:.3g}: MPa? say which")
        if largest > 20:
            return "Pa", f"values up to {largest:.3g} are too large for a coefficient"
        return "", f"values up to {largest:.3g}: a coefficient, or kinematic (m^2/s^2), or MPa; say which"
    if role == "temperature":
        if 150 < low and high < 5000:
            return "K", f"range {low:.4g} to {high:.4g}"
        return ("degC", f"range {low:.4g} to {high:.4g}") if -100 < low and high > 5 and high < 2000 else ("", "")
    unit = FIELD_UNITS.get(role, "")
    return unit, "usual for this role; the files state none" if unit else ""


def components(names: Sequence[str]) -> dict[str, str]:
    """Scalars that look like components of a vector -> the vector: ``Ux``, ``Uy``, ``Uz`` -> ``U``."""
    out = {}
    for name in names:
        match = re.fullmatch(r"(?P<base>.+?)[_:\-. ]?(?P<axis>[xyzXYZ012])", name)
        if match is None:
            continue
        family = [other for other in names if re.fullmatch(re.escape(match["base"]) + r"[_:\-. ]?[xyzXYZ012]", other)]
        if len(family) in (2, 3):
            out[name] = match["base"]
    return out
