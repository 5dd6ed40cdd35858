"""Detections as columns: what a model found on many images, small enough to keep all of it.

Shapes:
    D: detections of all images.
    N: detections of one image.
    H, W: height and width of that image in pixels.
    C: classes. A label is 0..C-1; `category_ids[label]` is the id the annotation file uses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as rle_masks
from torch import Tensor

Record = dict[str, Any]
"""One detection in the published results format of LVIS and COCO: `image_id`, `category_id`, `bbox`
(x, y, width, height in pixels), `score`, `segmentation` (compressed run lengths)."""

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_AT_ONCE = 10_000  # records made from columns, or read into them, before the next ones


@dataclass(frozen=True)
class MaskColumn:
    """Masks as compressed run lengths, one text after the other.

    Attributes:
        sizes: int32[D, 2], H and W.
        ends: int64[D], where each mask's run lengths end in `text`.
        text: the run lengths of all masks, ASCII.
    """

    sizes: npt.NDArray[np.int32]
    ends: Integers
    text: bytes | bytearray

    def codes(self, rows: npt.NDArray[np.integer]) -> list[dict[str, Any]]:
        """The masks of `rows` as pycocotools takes them."""
        before = np.where(rows > 0, self.ends[rows - 1], 0).tolist()
        after, sizes = self.ends[rows].tolist(), self.sizes[rows].tolist()
        return [
            {"size": size, "counts": bytes(self.text[start:end])}
            for start, end, size in zip(before, after, sizes, strict=True)
        ]

    @classmethod
    def of(cls, codes: Iterable[Mapping[str, Any]]) -> "MaskColumn":
        """The same masks; raises ValueError for what is not a compressed run-length code."""
        sizes: list[int] = []
        lengths: list[int] = []
        text = bytearray()
        for code in codes:
            try:
                height, width = code["size"]
                counts = code["counts"]
                run_lengths = counts if isinstance(counts, bytes) else counts.encode("ascii")
            except (TypeError, AttributeError, KeyError) as error:
                raise ValueError(
                    f"A detection's segmentation must be compressed run lengths, got {error!r} "
                    "reading one: encode it with pycocotools.mask."
                ) from error
            sizes += (height, width)
            lengths.append(len(run_lengths))
            text += run_lengths
        return cls(
            sizes=np.array(sizes, dtype=np.int32).reshape(len(lengths), 2),
            ends=np.cumsum(lengths, dtype=np.int64),
            text=text,
        )

    @classmethod
    def joined(cls, parts: Sequence["MaskColumn"]) -> "MaskColumn":
        """All masks of `parts` in their order."""
        starts = np.cumsum([0, *(len(part.text) for part in parts)])
        return cls(
            sizes=_concatenated([part.sizes for part in parts], (0, 2), np.int32),
            ends=_concatenated(
                [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)],
                (0,),
                np.int64,
            ),
            text=b"".join(part.text for part in parts),
        )


@dataclass(frozen=True, eq=False)
class Detections(Sequence[Record]):
    """A sequence of records in the published results format, kept as columns.

    About 70 bytes and the run lengths of its mask a detection, a fifth of what a record takes. A
    record is made when it is asked for; its numbers are those that were put in.

    Attributes:
        image_ids, category_ids: int64[D], as the annotation file numbers them.
        scores: float64[D].
        boxes: float64[D, 4], x, y, width, height in pixels; None: there are only masks.
        masks: None: there are only boxes.
    """

    image_ids: Integers
    category_ids: Integers
    scores: Floats
    boxes: Floats | None
    masks: MaskColumn | None

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]]) -> "Detections":
        """The same detections as columns; columns come back as they are.

        A geometry that some records lack is left out.

        Raises:
            ValueError: a record has neither `bbox` nor `segmentation`, or a mask that is not a
                compressed run-length code.
        """
        if isinstance(records, Detections):
            return records
        for record in records:
            if "bbox" not in record and "segmentation" not in record:
                raise ValueError(
                    f"A detection needs a bbox or a segmentation, got the fields {sorted(record)}: "
                    "use the results format of LVIS."
                )
        boxes = masks = None
        if all("bbox" in record for record in records):
            boxes = _boxes(records)
        if all("segmentation" in record for record in records):
            masks = MaskColumn.of(record["segmentation"] for record in records)
        return cls(
            image_ids=np.array([record["image_id"] for record in records], dtype=np.int64),
            category_ids=np.array([record["category_id"] for record in records], dtype=np.int64),
            scores=np.array([record["score"] for record in records], dtype=np.float64),
            boxes=boxes,
            masks=masks,
        )

    @classmethod
    def joined(cls, parts: Sequence["Detections"]) -> "Detections":
        """All detections of `parts` in their order, as of several processes."""
        boxes = [part.boxes for part in parts if part.boxes is not None]
        masks = [part.masks for part in parts if part.masks is not None]
        return cls(
            image_ids=_concatenated([part.image_ids for part in parts], (0,), np.int64),
            category_ids=_concatenated([part.category_ids for part in parts], (0,), np.int64),
            scores=_concatenated([part.scores for part in parts], (0,), np.float64),
            boxes=_concatenated(boxes, (0, 4), np.float64) if len(boxes) == len(parts) else None,
            masks=MaskColumn.joined(masks) if len(masks) == len(parts) else None,
        )

    def taken(self, rows: npt.NDArray[np.integer]) -> "Detections":
        """The detections at `rows`, int[N] from 0 on, as columns."""
        return Detections(
            image_ids=self.image_ids[rows],
            category_ids=self.category_ids[rows],
            scores=self.scores[rows],
            boxes=None if self.boxes is None else self.boxes[rows],
            masks=None if self.masks is None else MaskColumn.of(self.masks.codes(rows)),
        )

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return self.records(np.arange(len(self))[index])
        return self.records(np.arange(len(self))[[index]])[0]

    def __iter__(self) -> Iterator[Record]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self.records(np.arange(start, min(start + _AT_ONCE, len(self))))

    def records(self, rows: npt.NDArray[np.integer]) -> list[Record]:
        """The detections at `rows`, int[N] from 0 on, in the published results format."""
        columns: dict[str, list[Any]] = {
            "image_id": self.image_ids[rows].tolist(),
            "category_id": self.category_ids[rows].tolist(),
        }
        if self.boxes is not None:
            columns["bbox"] = self.boxes[rows].tolist()
        columns["score"] = self.scores[rows].tolist()
        if self.masks is not None:
            columns["segmentation"] = [
                {"size": code["size"], "counts": code["counts"].decode("ascii")}
                for code in self.masks.codes(rows)
            ]
        return [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]

    def of_images(self, image_ids: Iterable[int]) -> list[Record]:
        """The records of these images, in their order."""
        wanted = np.isin(self.image_ids, np.fromiter(image_ids, dtype=np.int64))
        return self.records(np.flatnonzero(wanted))


def _boxes(records: Sequence[Mapping[str, Any]]) -> Floats:
    """float64[D, 4]."""
    sides = np.fromiter((side for record in records for side in record["bbox"]), dtype=np.float64)
    if len(sides) != 4 * len(records):
        raise ValueError(
            f"A detection's bbox must be x, y, width and height, got {len(sides)} numbers in "
            f"{len(records)} boxes: use the results format of LVIS."
        )
    return sides.reshape(len(records), 4)


def _concatenated(
    arrays: Sequence[npt.NDArray[Any]], empty: tuple[int, ...], kind: type[np.generic]
) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(empty, dtype=kind), *arrays])


class DetectionCollector:
    """Gathers detections image by image; memory grows with their outlines, not with image sizes.

    Args:
        category_ids: int[C], the annotation file's id of each class index.
    """

    def __init__(self, category_ids: Sequence[int]) -> None:
        self._category_ids = np.array(category_ids, dtype=np.int64)
        self._parts: list[Detections] = []

    @property
    def records(self) -> Detections:
        """All detections so far, in the order they came."""
        self._parts = [Detections.joined(self._parts)]
        return self._parts[0]

    def add(
        self,
        image_id: int,
        *,
        boxes: Tensor,
        scores: Tensor,
        labels: Tensor,
        masks: Tensor | Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep the detections of one image; may be called several times for parts of an image.

        Args:
            image_id: the annotation file's id of the image.
            boxes: float[N, 4], corners x0, y0, x1, y1 in pixels of the original image.
            scores: float[N].
            labels: int[N], 0..C-1.
            masks: bool[N, H, W], in the original image's size, or N run-length codes of that size.

        Raises:
            ValueError: the four do not agree on N, or a label is not a class.
        """
        count = len(boxes)
        if not len(scores) == len(labels) == len(masks) == count:
            raise ValueError(
                f"boxes, scores, labels and masks of an image must have one length, got {count}, "
                f"{len(scores)}, {len(labels)} and {len(masks)}: pass the same detections to all."
            )
        if count == 0:
            return
        for label in (int(labels.min()), int(labels.max())):
            if not 0 <= label < len(self._category_ids):
                raise ValueError(
                    f"A detection's label must be one of {len(self._category_ids)} classes from 0 "
                    f"on, got {label}: leave the background out before collecting."
                )
        corners = boxes.detach().to("cpu", torch.float64)
        self._parts.append(
            Detections(
                image_ids=np.full(count, int(image_id), dtype=np.int64),
                category_ids=self._category_ids[labels.detach().cpu().numpy()],
                scores=scores.detach().to("cpu", torch.float64).numpy(),
                boxes=torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).numpy(),
                masks=MaskColumn.of(_encoded(masks) if isinstance(masks, Tensor) else masks),
            )
        )


def _encoded(masks: Tensor) -> list[dict[str, Any]]:
    """bool[N, H, W] -> N run-length codes, in one call for all N."""
    # The encoder wants uint8[H, W, N] with the rows running fastest: the transposed view of
    # [N, W, H] in memory.
    columns = masks.detach().to("cpu", torch.uint8).transpose(1, 2).contiguous().numpy()
    codes: list[dict[str, Any]] = rle_masks.encode(columns.transpose(2, 1, 0))
    return codes
