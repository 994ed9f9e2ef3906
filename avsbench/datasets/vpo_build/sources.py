"""Where the material lies and how it is used: the key `vpo_sources` of the configuration."""

from dataclasses import dataclass, field
from pathlib import Path

from avsbench.datasets.vpo_build.candidates import Area
from avsbench.datasets.vpo_build.tables import tables
from avsbench.errors import AvsbenchError


@dataclass(frozen=True)
class Sources:
    """Where the material lies and how it is used.

    Attributes:
        coco, vggsound: folders.
        masks: "instances" or "panoptic".
        seed: of every random choice.
        area: limits of an annotation's size.
        cap_factor: scales the caps of `tables.yaml`.
    """

    coco: Path
    vggsound: Path
    masks: str = "instances"
    seed: int = 0
    area: Area = field(default_factory=Area)
    cap_factor: float = 1.0

    @classmethod
    def of(cls, settings: dict, needed: tuple[str, ...] = ("coco", "vggsound")) -> "Sources":
        """From the key `vpo_sources` of the configuration.

        Raises AvsbenchError where it does not name the folders `needed`.
        """
        missing = [key for key in needed if not settings.get(key)]
        if missing:
            raise AvsbenchError(
                f"the configuration does not say where {' and '.join(missing)} is to be found",
                found=f"vpo_sources: {settings or 'nothing'}",
                expected="vpo_sources: {coco: FOLDER, vggsound: FOLDER}",
                hint="see vpo_sources in docs/configuration.md",
            )
        area = Area(settings.get("min_area", Area.smallest), settings.get("max_area", Area.largest))
        places = {key: Path(settings.get(key, "")).expanduser() for key in ("coco", "vggsound")}
        return cls(**places, area=area, **{k: settings[k] for k in ("masks", "seed", "cap_factor") if k in settings})

    def caps(self, kind: str) -> dict[str, dict[str, int]]:
        """Split -> class -> rows at most; a class that has any keeps at least one."""
        return {
            split: {name: max(1, round(self.cap_factor * cap)) for name, cap in caps.items()}
            for split, caps in tables().caps[kind].items()
        }
