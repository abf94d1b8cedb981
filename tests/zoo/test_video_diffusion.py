"""Video diffusion: what frames and pictures see, reconstruction guidance on Gaussian data."""

from __future__ import annotations

import torch

from minisora.zoo import video_diffusion as vdm
from minisora.zoo.ddpm import ALPHA_BAR
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import FIELDS, ToyBatch

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


def opened():
    torch.manual_seed(0)
    model = vdm.VideoNet()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_pictures_see_themselves_and_clips_do_not_see_them():
    model, z, t = opened(), torch.randn(1, 8, 32, 32, 3), torch.tensor([400])
    eps = model(z, t, LABELS[:1], pictures=2)
    for changed, expected in ((1, [0, 1, 2, 3, 4, 5]), (6, [6])):
        other = z.clone()
        other[:, changed] += torch.randn(1, 32, 32, 3)
        difference = (model(other, t, LABELS[:1], pictures=2) - eps).abs().amax((0, 2, 3, 4))
        assert (difference > 1e-3).nonzero().flatten().tolist() == expected
    torch.testing.assert_close(model(z[:, :6], t, LABELS[:1]), eps[:, :6], atol=2e-4, rtol=1e-3)


def test_positions_of_frames_are_relative():
    """What a frame makes of its neighbours depends on how far they are, not on where it stands."""
    torch.manual_seed(0)
    layer = vdm.SpaceTimeAttention(vdm.CONFIG, 32)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    h = torch.randn(6, 32, 4, 4)
    near = (torch.arange(6)[:, None] - torch.arange(6)).abs() <= 1
    whole, later = layer(h, near), layer(h[2:], near[2:, 2:])
    torch.testing.assert_close(whole[3:], later[1:])  # frames whose neighbours are all in both
    assert not torch.allclose(layer(h.flip(0), near).flip(0), whole, atol=1e-3)


def test_pictures_of_joint_training_are_frames_of_the_batch_with_their_labels():
    class Recorder(torch.nn.Module):
        def forward(self, z, t, labels, dropped, *, pictures):
            self.asked = (z, labels, pictures)
            return torch.zeros_like(z)

    clips = torch.arange(8.0).reshape(8, 1, 1, 1, 1).expand(8, 16, 2, 2, 3) * 1000  # far apart, whatever the noise
    labels = torch.arange(8)[:, None].expand(-1, len(FIELDS))
    recorder, rng = Recorder(), torch.Generator().manual_seed(0)
    vdm.loss(recorder, ToyBatch(clips, labels), rng, pictures=4)
    z, told, pictures = recorder.asked
    assert z.shape[1] == told.shape[1] == 16 + pictures
    scale = z[:, :1].mean((1, 2, 3, 4)) / clips[:, 0].mean((1, 2, 3)).clamp(min=1)
    for n in range(1, 8):
        shown = z[n, 16:].mean((1, 2, 3)) / scale[n] / 1000
        torch.testing.assert_close(shown, told[n, 16:, 0].float(), atol=0.2, rtol=0)


def walk(steps):
    """Covariance of a random walk, as a Gaussian model of clips of one pixel."""
    return 0.02 + 0.008 * torch.minimum(*torch.meshgrid(*[torch.arange(steps)] * 2, indexing="ij"))


def exact(cov):
    """eps_theta of Gaussian data with mean 0 and this covariance."""

    def eps_theta(z, t, labels):
        alpha_bar = ALPHA_BAR[t[0]]
        noisy = alpha_bar * cov + (1 - alpha_bar) * torch.eye(len(cov))
        return (1 - alpha_bar).sqrt() * torch.einsum("ij,bj...->bi...", noisy.inverse(), z)

    return eps_theta


def test_reconstruction_guidance_comes_nearer_to_the_conditional_mean_than_replacement():
    frames, known, count = 8, 4, 512
    cov, rng = walk(frames), torch.Generator().manual_seed(0)
    x_a = (torch.linalg.cholesky(cov) @ torch.randn(frames, count, generator=rng))[:known].T.reshape(
        count, known, 1, 1, 1
    )
    mean = torch.einsum("ij,bj...->bi...", cov[known:, :known] @ cov[:known, :known].inverse(), x_a)
    error = {}
    for w_r in (0.0, 1.0):
        ask = Ask(LABELS[:1].expand(count, -1), torch.Generator().manual_seed(1))
        x_b = vdm.extended(exact(cov), x_a, ask, frames=frames, w_r=w_r, steps=50)
        error[w_r] = float((x_b - mean)[:, 0].square().mean())
    assert error[1.0] < 0.75 * error[0.0]


def test_the_gradient_of_eq_7_in_closed_form():
    """One step from the noisiest time: x_hat is linear in z, so the gradient is known on paper."""
    frames, known = 6, 3
    cov = walk(frames)
    eps_theta, x_a = exact(cov), torch.full((1, known, 1, 1, 1), 0.2)
    drawn = torch.Generator().manual_seed(5)
    ask = Ask(LABELS[:1], torch.Generator().manual_seed(5))
    x_b = vdm.extended(eps_theta, x_a, ask, frames=frames, w_r=2.0, steps=1)
    z_b = torch.randn(1, frames - known, 1, 1, 1, generator=drawn)
    alpha, sigma = ALPHA_BAR[-1].sqrt(), (1 - ALPHA_BAR[-1]).sqrt()
    z = torch.cat([alpha * x_a + sigma * torch.randn(1, known, 1, 1, 1, generator=drawn), z_b], 1).flatten()
    gain = alpha * cov @ (alpha**2 * cov + sigma**2 * torch.eye(frames)).inverse()  # x_hat = gain z
    gradient = -2 * gain[:known, known:].T @ (x_a.flatten() - gain[:known] @ z)
    expected = gain[known:] @ z - 2.0 * alpha / 2 * gradient
    torch.testing.assert_close(x_b.flatten(), expected, atol=2e-3, rtol=2e-3)
