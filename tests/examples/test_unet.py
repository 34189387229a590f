"""The U-Net: its shapes, its program, and a training of one step on drawn slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import saccade
from examples.unet_mri import explain, train
from examples.unet_mri.network import UNet, unet


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """Five patients of two slices, 48x48; every slice but the last patient's shows a bright tumour."""
    folder = tmp_path / "slices"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        pixels, mask = rng.integers(0, 90, (48, 48), dtype=np.uint8), np.zeros((48, 48), np.uint8)
        if i < 8:
            mask[8 + i : 30, 10:28] = 255
        stem = f"TCGA_XX_{1000 + i // 2}_19990101_{i}"
        Image.fromarray(np.maximum(pixels, mask)).save(folder / f"{stem}.png")
        Image.fromarray(mask).save(folder / f"{stem}_mask.png")
    return folder


class Outlines(nn.Module):
    """Logits that are positive where the picture is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - 0.5


# ---- the network --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "classes", "depth"), [(1, 1, 4), (3, 1, 3), (1, 4, 2)])
def test_logits_are_as_large_as_the_input(channels: int, classes: int, depth: int):
    network = UNet(channels, classes, width=2, depth=depth).eval()
    with torch.no_grad():
        assert network(torch.rand(2, channels, 32, 48)).shape == (2, classes, 32, 48)


def test_it_is_compact():
    assert 0.5e6 < sum(p.numel() for p in unet().parameters()) < 2e6


def test_its_program_explains_a_region():
    """Compiling proves it against autograd; what the proof leaves open is that a mask chooses the region."""
    torch.manual_seed(0)
    network = UNet(width=4, depth=2)
    program = saccade.compile(
        network, "grad-cam", "saliency", layer="bottleneck", target="region", to="torchscript", input_size=32
    )
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)
    corner = np.zeros((32, 32), np.uint8)
    corner[:6, :6] = 1
    got = program(images, target=0, region=corner)
    assert got.logits.shape == (2, 1, 32, 32)
    assert got.grad_cam.shape == (2, 8, 8)
    assert (got.saliency[:, :6, :6].max(axis=(1, 2)) > 0).all()
    assert (got.saliency[:, 28:, 28:] == 0).all(), "two poolings do not see from corner to corner"


# ---- the slices ---------------------------------------------------------------------------------------------------


def test_patient():
    assert train.patient(Path("mri/TCGA_CS_4941_19960909_14.png")) == "TCGA_CS_4941"


@pytest.mark.parametrize("seed", range(20))
def test_no_patient_is_on_both_sides(slices: Path, seed: int):
    listed = train.list_slices(slices)
    training, held_out = train.split(listed, seed)
    assert sorted([*training, *held_out]) == listed
    assert len(listed) == 10
    assert len(held_out) == 2
    assert not {train.patient(p) for p in training} & {train.patient(p) for p in held_out}
    assert (training, held_out) == train.split(listed, seed)


def test_slices_are_read_with_their_masks(slices: Path):
    read = train.read(train.list_slices(slices), 16)
    assert read.pictures.shape == read.masks.shape == (10, 1, 16, 16)
    assert set(read.masks.unique().tolist()) == {0.0, 1.0}
    assert bool((read.pictures[:8][read.masks[:8] > 0] > 0.5).all())
    assert float(read.masks[8:].sum()) == 0


def test_augmentation_moves_picture_and_mask_alike(slices: Path):
    torch.manual_seed(0)
    given = train.read(train.list_slices(slices), 48)
    moved = train.augment(given)
    assert not torch.equal(moved.masks, given.masks)
    assert 0 <= float(moved.pictures.min()) <= float(moved.pictures.max()) <= 1
    bright = (moved.pictures > 0.55).float()
    overlap = 2 * (bright * moved.masks).sum() / (bright.sum() + moved.masks.sum())
    assert float(overlap) > 0.9


# ---- measuring and training ---------------------------------------------------------------------------------------


def test_dice():
    """One slice outlined wholly, one by half (Dice 2/3), one without a tumour and with a false one of 6 pixels."""
    masks, pictures = torch.zeros(3, 1, 8, 8), torch.zeros(3, 1, 8, 8)
    masks[0, 0, :2], pictures[0, 0, :2] = 1, 1
    masks[1, 0, :4], pictures[1, 0, :2] = 1, 1
    pictures[2, 0, 0, :6] = 1
    dice = train.measure(Outlines(), train.Slices(pictures, masks))
    assert dice.slices == pytest.approx((1 + 2 / 3) / 2)
    assert dice.pooled == pytest.approx(2 * 32 / (38 + 48))


def test_a_right_outline_costs_less():
    masks = torch.zeros(2, 1, 8, 8)
    masks[:, :, :3] = 1
    right, none = 20 * masks - 10, torch.full_like(masks, -10)
    assert float(train.loss(right, masks)) < 1e-3 < 1 < float(train.loss(none, masks))


def test_training_for_one_step(slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "unet.safetensors"
    train.main(["--data", f"{slices}", "--out", f"{out}", "--epochs", "1", "--size", "16", "--seed", "3"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "8 slices to train with, 2 of other patients held out, 16x16"
    assert said[1].startswith("epoch 1/1  loss ")
    assert said[2].startswith("held out: Dice ")
    weights = load_file(out)
    unet().load_state_dict(weights)
    assert int(weights["bottleneck.1.num_batches_tracked"]) == 1
    listed = [Path(line) for line in out.with_suffix(".held_out.txt").read_text().splitlines()]
    assert listed == train.split(train.list_slices(slices), 3)[1]


def test_a_folder_without_slices(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        train.main(["--data", f"{tmp_path}"])
    assert "expected slices of two patients or more" in capsys.readouterr().err


# ---- explaining ---------------------------------------------------------------------------------------------------


def test_share_inside():
    """All of it, a quarter, and two that do not count: a blank map, a blank mask."""
    maps, masks = np.zeros((4, 2, 2), np.float32), np.zeros((4, 4, 4), np.float32)
    maps[0, 0, 0], masks[0, :2, :2] = 3, 1
    maps[1], masks[1, :2, :2] = 1, 1
    masks[2], maps[3] = 1, 1
    assert explain.share_inside(maps, masks) == pytest.approx((1 + 1 / 4) / 2)


def test_explaining_held_out_slices(
    slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Two slices of one patient without a tumour, two with one."""
    monkeypatch.setattr(explain, "unet", lambda: UNet(width=2, depth=2))
    save_file(UNet(width=2, depth=2).state_dict(), tmp_path / "unet.safetensors")
    (tmp_path / "held_out.txt").write_text("".join(f"{p}\n" for p in train.list_slices(slices)[6:]))
    words = {"weights": "unet.safetensors", "slices": "held_out.txt", "out": "sheet.png"}
    explain.main(["--size", "32", *(word for k, v in words.items() for word in (f"--{k}", f"{tmp_path / v}"))])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("2 slices with a tumour")
    assert [line.split()[0] for line in said[1:4]] == ["a", "grad-cam", "saliency"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 500
