"""Notebooks as pages: their Markdown as it is, their code and the outputs they were committed with, images as files.

No extension of mkdocs is needed for that, and no script from another server (ADR 14).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from mkdocs.structure.files import File, InclusionLevel


def on_files(files: Any, *, config: Any) -> Any:
    """Put a page in the place of every notebook, and a file in the place of every image in it."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        name = notebook.src_uri.removesuffix(".ipynb")
        images: dict[str, bytes] = {}
        page = _page(json.loads(notebook.content_string), name.rsplit("/", 1)[-1], images)
        files.append(File.generated(config, f"{name}.md", content=page))
        folder = name.rsplit("/", 1)[0] + "/" if "/" in name else ""
        for image, content in images.items():
            files.append(File.generated(config, folder + image, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def _page(notebook: dict[str, Any], name: str, images: dict[str, bytes]) -> str:
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        parts += [_output(output, name, images) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any], name: str, images: dict[str, bytes]) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        image = f"images/{name}-{len(images) + 1}.png"
        images[image] = base64.b64decode("".join(data["image/png"]))
        alt = output["metadata"]["image/png"]["alt"]
        return f"![{alt}]({image})"
    if "text/html" in data:
        table = "".join(data["text/html"]).replace(
            ' border="1" class="dataframe"', ""
        )  # pandas' style is not the site's
        return "\n".join(line for line in table.splitlines() if line.strip())
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"
