"""Installed packages with plugins, as pip would leave them."""

from pathlib import Path

from bench.plugins import registry


def install(
    site: Path,
    distribution: str,
    plugins: dict[str, str],
    source: str,
    *,
    group: str = registry.GROUP,
) -> None:
    """What pip would leave of a package with one module."""
    module = distribution.replace("-", "_")
    (site / f"{module}.py").write_text(source, encoding="utf-8")
    info = site / f"{module}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n", encoding="utf-8"
    )
    lines = [f"{name} = {module}:{target}" for name, target in plugins.items()]
    (info / "entry_points.txt").write_text(
        "\n".join([f"[{group}]", *lines]) + "\n", encoding="utf-8"
    )
