"""VTK's own readers and writers, with their messages caught: VTK logs errors and hands back empty meshes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow, vtkStringOutputWindow

# Warnings that mean damage; other warnings do not stop the reading.
DAMAGE = re.compile(r"error|premature|truncat|corrupt|unexpected|invalid|out of range|missing", re.IGNORECASE)


class VtkMessages:
    """What VTK said while it was caught."""

    def __init__(self) -> None:
        self.window = vtkStringOutputWindow()

    @property
    def errors(self) -> list[str]:
        """The complaints, without file names and addresses, in order."""
        out = []
        text = self.window.GetOutput() or ""
        if isinstance(text, bytes):  # VTK hands back bytes when it quotes a damaged file
            text = text.decode("latin-1")
        for block in re.split(r"\n(?=(?:ERROR|Warning|Generic Warning): In )", text):
            head, _, body = block.strip().partition("\n")
            text = re.sub(r"^\w+ \((?:0x)?[0-9a-fA-F]+\): ", "", body.strip())
            if head.startswith("ERROR") or DAMAGE.search(text):
                readable = "".join(c if c.isprintable() else " " for c in text)
                out.append(" ".join(readable.split())[:160])
        return out


@contextmanager
def catch_messages() -> Iterator[VtkMessages]:
    """Keep VTK from writing to the terminal and collect what it has to say."""
    messages = VtkMessages()
    window, verbosity = vtkOutputWindow.GetInstance(), vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(messages.window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtkLogger.SetStderrVerbosity(verbosity)
        vtkOutputWindow.SetInstance(window)


def run_reader(reader: Any, path: Path) -> tuple[Any, list[str]]:
    """Output of a VTK reader for a file, and its complaints."""
    with catch_messages() as messages:
        reader.SetFileName(str(path))
        reader.Update()
    return reader.GetOutputDataObject(0), messages.errors


def run_writer(writer: Any, data: Any, path: Path) -> list[str]:
    """Write with a VTK writer; the complaints, empty when all went well."""
    with catch_messages() as messages:
        writer.SetFileName(str(path))
        writer.SetInputData(data)
        done = writer.Write()
    return messages.errors or ([] if done else ["VTK could not write the file"])
