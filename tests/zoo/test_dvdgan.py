"""DVD-GAN's parts against closed forms: hinge, projection, spectral norms, who sees what."""

from __future__ import annotations

import pytest
import torch

from minisora.zoo import dvdgan
from minisora.zoo.dvdgan import CLIPS_32, DVDGAN, ClassNorm, ConvGRU, Spatial, Temporal
from minisora.zoo.frame.sets import FIELDS, SHAPE, ToyBatch

LABELS = torch.zeros(3, len(FIELDS), dtype=torch.long)
K = torch.tensor([[0, 3, 9, 15]]).expand(3, -1)


@pytest.fixture
def clips():
    return torch.rand(3, *CLIPS_32.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def built(kind):
    torch.manual_seed(0)
    return kind().eval()


@pytest.mark.parametrize("kind", [Spatial, Temporal])
def test_each_side_learns_from_its_own_loss_alone(kind, clips):
    D = built(kind)
    fake = clips.flip(1).requires_grad_()
    d, g = dvdgan.game(D, clips, fake, LABELS, K)
    (nothing,) = torch.autograd.grad(d, fake, retain_graph=True, allow_unused=True)
    assert nothing is None
    assert all(
        each is None for each in torch.autograd.grad(g, list(D.parameters()), retain_graph=True, allow_unused=True)
    )
    (pulled,) = torch.autograd.grad(g, fake, retain_graph=True)
    (wanted,) = torch.autograd.grad(-D(fake, LABELS, K).mean(), fake)
    torch.testing.assert_close(pulled, wanted)
    assert pulled.any()


def test_the_hinge_asks_nothing_beyond_its_margin():
    def D(v, labels, k):
        return v.sum(1)

    D.named_parameters = lambda: []
    real, fake = torch.tensor([[2.0], [0.5]]), torch.tensor([[-3.0], [0.0]])
    relu = torch.nn.functional.relu
    wanted = relu(1 - real).mean() + relu(1 + fake).mean()
    assert float(wanted) == 0.25 + 0.5
    module = torch.nn.Module()
    module.forward = D
    d, g = dvdgan.game(module, real, fake, LABELS, K)
    assert (float(d), float(g)) == (0.75, 1.5)


def test_the_class_enters_by_projection(clips):
    """Scores of two classes differ by <e(y) - e(y'), h>, summed over the pictures."""
    D = built(Spatial)
    other = LABELS.clone()
    other[:, SHAPE] = 1
    e, h = D.e(dvdgan.one_hot(LABELS) - dvdgan.one_hot(other)), D.features(clips, K)
    torch.testing.assert_close(D(clips, LABELS, K) - D(clips, other, K), (h.sum(1) * e).sum(1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [Spatial, Temporal])
def test_no_layer_of_a_discriminator_stretches(kind, clips):
    D = built(kind).train()
    for _ in range(30):  # a power iteration each
        D(clips[:1], LABELS[:1], K[:1])
    D.eval()
    for module in D.modules():
        if hasattr(module, "parametrizations"):
            norm = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            assert float(norm) == pytest.approx(1, abs=0.05)


def test_d_s_sees_k_frames_in_no_order(clips):
    D = built(Spatial)
    scores = D(clips, LABELS, K)
    torch.testing.assert_close(D(clips, LABELS, K.flip(1)), scores, atol=1e-5, rtol=1e-5)
    changed = clips.clone()
    changed[:, 1] = 0  # not among them
    torch.testing.assert_close(D(changed, LABELS, K), scores)


def test_d_t_sees_the_order_of_frames_and_half_the_resolution(clips):
    D = built(Temporal)
    scores = D(clips, LABELS, K)
    assert (D(clips.flip(1), LABELS, K) - scores).abs().max() > 1e-4
    checks = torch.tensor([1.0, -1.0]).repeat(16)
    fine = (checks[:, None] * checks)[..., None]  # averages to 0 in each 2x2
    torch.testing.assert_close(D(clips + 0.5 * fine, LABELS, K), scores, atol=1e-4, rtol=1e-4)


def test_a_conv_gru_on_one_pixel_is_a_gru_with_relu():
    torch.manual_seed(0)
    gru, x = ConvGRU(4), torch.randn(5, 2, 4, 1, 1)
    gates, candidate = gru.gates.weight[:, :, 1, 1], gru.candidate.weight[:, :, 1, 1]  # others see padding alone
    h = torch.zeros(2, 4)
    for n in range(5):
        x_t = x[n, :, :, 0, 0]
        r, u = torch.sigmoid(torch.cat([h, x_t], 1) @ gates.mT + gru.gates.bias).split(4, 1)
        c = torch.relu(torch.cat([x_t, r * h], 1) @ candidate.mT + gru.candidate.bias)
        h = u * h + (1 - u) * c
        torch.testing.assert_close(gru(x)[n, :, :, 0, 0], h)


def test_the_class_norm_scales_each_clip_in_all_its_frames():
    torch.manual_seed(0)
    norm, code = ClassNorm(3).eval(), torch.randn(2, 2 * dvdgan.Z)
    frames = torch.randn(4, 2, 3, 5, 5)  # (T, B, C, H, W)
    out = norm(frames.flatten(0, 1), code).unflatten(0, (4, 2))
    gain, bias = norm.affine(code).chunk(2, 1)
    wanted = (1 + gain)[..., None, None] * frames + bias[..., None, None]
    torch.testing.assert_close(out, wanted, atol=1e-4, rtol=1e-4)  # new running statistics: mean 0, variance 1


def test_the_loss_teaches_every_part(clips):
    torch.manual_seed(0)
    model = DVDGAN()
    dvdgan.loss(model, ToyBatch(clips, LABELS), torch.Generator().manual_seed(0))["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert [type(D) for D in DVDGAN("D_T").discriminators] == [Temporal]
