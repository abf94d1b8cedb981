"""The cascade: v-prediction against diffusers, its sampler in closed form, up- and downsampling."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from torch.nn import functional as F

from minisora.zoo import imagen_video
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import CLIPS_32, FIELDS, ToyBatch
from minisora.zoo.imagen_video import BASE, SSR, TSR

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


def clips(seed=0):
    return torch.rand(2, *CLIPS_32.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Spy(torch.nn.Module):
    """Remembers what it is called with; predicts zeros."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, z, t, labels, c=None, s=None):
        self.seen.append((z, t, c, s))
        return torch.zeros_like(z)


def test_v_is_diffusers():
    x, eps = clips(), clips(1)
    t = torch.tensor([250, 700])
    theirs = DDIMScheduler(1000, prediction_type="v_prediction")
    theirs.alphas_cumprod = (torch.arange(1000) / 1000 * torch.pi / 2).cos() ** 2
    alpha, sigma = imagen_video.alpha_sigma(t / 1000)
    torch.testing.assert_close(imagen_video.noised(x, eps, t / 1000), theirs.add_noise(x, eps, t))
    torch.testing.assert_close(alpha * eps - sigma * x, theirs.get_velocity(x, eps, t))


def test_loss_of_a_network_that_predicts_nothing_is_the_mean_square_of_v():
    spy, x = Spy(), torch.full((64, *CLIPS_32.shape), 0.5)
    loss = imagen_video.SSR.loss(spy, ToyBatch(x, LABELS[:1].expand(64, -1)), torch.Generator().manual_seed(0))
    t = spy.seen[0][1]
    expected = ((t * torch.pi / 2).cos() ** 2 + 0.25 * (t * torch.pi / 2).sin() ** 2).mean()
    torch.testing.assert_close(loss["loss"], expected, rtol=0.01, atol=0)


def test_sampling_of_gaussian_data_is_the_flow_in_closed_form():
    """Data of deviation s around 0: the flow scales noise by s, and the best v is linear in z."""
    s = 0.2

    def v_theta(z, t, labels, c, told):
        alpha, sigma = imagen_video.alpha_sigma(t)
        return alpha * sigma * (1 - s**2) / (alpha**2 * s**2 + sigma**2) * z

    z = torch.linspace(-2, 2, 2 * 8 * 4 * 4 * 3).reshape(2, 8, 4, 4, 3)
    made = imagen_video.denoised(v_theta, z, LABELS, steps=400)
    torch.testing.assert_close(made, s * z, rtol=0.02, atol=1e-3)


def test_conditioning_is_noised_as_told():
    """The noise in c has deviation sigma_s, in training and in sampling."""
    x = torch.zeros(2, *CLIPS_32.shape)
    for stage in (TSR, SSR):
        spy = Spy()
        stage.loss(spy, ToyBatch(x, LABELS), torch.Generator().manual_seed(0))
        imagen_video.upsampled(stage, {stage.name: spy}, x, Ask(LABELS, torch.Generator().manual_seed(0)))
        for _, _, c, s in spy.seen:
            torch.testing.assert_close(c.flatten(1).std(1), (s * torch.pi / 2).sin(), rtol=0.05, atol=0)
        assert float(spy.seen[-1][3][0]) == torch.tensor(imagen_video.AUGMENTED)


def test_up_and_downsampling():
    x = clips()
    pooled = F.avg_pool3d(x.movedim(-1, 1), (1, 2, 2)).movedim(1, -1)
    torch.testing.assert_close(imagen_video.shrunk(x), pooled)
    assert torch.equal(imagen_video.fewer(imagen_video.repeated(x)), x)
    even = torch.arange(0.0, 16, 2).reshape(1, 8, 1, 1, 1)
    assert imagen_video.between(even).flatten().tolist() == [*range(15), 14]
    assert imagen_video.enlarged(imagen_video.shrunk(x)).shape == x.shape


def test_the_spatial_upsampler_runs_on_more_frames_than_it_is_trained_on():
    torch.manual_seed(0)
    model = SSR.build({})
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    z, t = clips()[:1, :12, :16, :16], torch.tensor([0.5])
    changed = z.clone()
    changed[:, 0] += 1
    moved = model(changed, t, LABELS[:1], z, t) - model(z, t, LABELS[:1], z, t)
    assert moved.shape[1] == 12
    assert moved[:, 1].any()


def test_the_base_model_makes_few_small_frames():
    spy = Spy()
    BASE.loss(spy, ToyBatch(clips(), LABELS), torch.Generator().manual_seed(0))
    assert spy.seen[0][0].shape == (2, 8, 16, 16, 3)
    assert spy.seen[0][2] is None
