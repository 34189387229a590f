"""A folder of photos explained with the package grad-cam, written as one who knows it well would write it.

Pillow opens, the weights' own transforms prepare, GradCAM explains batches, `show_cam_on_image` draws, and what comes
out lies on disk: predictions.csv and, with --overlays, a JPEG for each photo. It knows nothing of Saccade. The last
line on stdout says in JSON where its seconds went.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import csv  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from PIL import Image  # noqa: E402
from pytorch_grad_cam import GradCAM  # noqa: E402
from pytorch_grad_cam.utils.image import show_cam_on_image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

LAYERS = {"resnet": "layer4", "squeezenet": "features.12"}


class Photos(Dataset):
    """The photos of a folder, ready for the network."""

    def __init__(self, folder: Path, transform) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        with Image.open(self.paths[index]) as photo:
            return self.transform(photo.convert("RGB")), self.paths[index].stem


def main() -> None:
    """Explain the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a name in torchvision")
    parser.add_argument("weights", type=Path, help="its state dict, .safetensors")
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--overlays", action="store_true")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--maps", action="store_true", help="also write maps.npy, float32 [N, 224, 224]")
    options = parser.parse_args()
    imported = time.perf_counter()

    torch.set_num_threads(options.threads)
    model = torchvision.models.get_model(options.model, weights=None)
    model.load_state_dict(load_file(options.weights))
    model.eval()
    layer = next(path for family, path in LAYERS.items() if options.model.startswith(family))
    preset = torchvision.models.get_model_weights(options.model)["DEFAULT"].transforms()
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (preset.mean, preset.std))
    loader = DataLoader(Photos(options.photos, preset), options.batch_size, num_workers=options.workers)
    options.out.mkdir(parents=True, exist_ok=True)
    rows, maps = [], []
    ready = time.perf_counter()

    with GradCAM(model=model, target_layers=[model.get_submodule(layer)]) as cam:
        for x, names in loader:
            explained = cam(input_tensor=x, targets=None)
            sure, predicted = cam.outputs.detach().softmax(dim=1).max(dim=1)
            rows += zip(names, predicted.tolist(), sure.tolist(), strict=True)
            if options.maps:
                maps.append(explained)
            if options.overlays:
                for picture, one, name in zip((x * std + mean).clamp(0, 1), explained, names, strict=True):
                    drawn = show_cam_on_image(picture.permute(1, 2, 0).numpy(), one, use_rgb=True)
                    Image.fromarray(drawn).save(options.out / f"{name}.jpg", quality=90)

    with open(options.out / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "prediction", "confidence"])
        writer.writerows(rows)
    if options.maps:
        np.save(options.out / "maps.npy", np.concatenate(maps))
    done = time.perf_counter()
    print(json.dumps({"imports": imported - STARTED, "load": ready - imported, "photos": done - ready}))


if __name__ == "__main__":
    main()
