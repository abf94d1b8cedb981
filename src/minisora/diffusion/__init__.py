"""The mathematics of diffusion: path, times, loss, denoiser, guidance, samplers.

Torch only; it knows no network.
"""

from minisora.diffusion.denoiser import Denoiser, VelocityFn, finish, from_velocity, noised, start
from minisora.diffusion.guidance import JointDenoiser, extrapolated, guided_joint, in_interval
from minisora.diffusion.loss import flow_matching_loss, loss_by_bin, mean_loss, velocity_error
from minisora.diffusion.path import interpolate, velocity, x0_from_velocity
from minisora.diffusion.samplers import SAMPLERS, Sampler, consistency, dpmpp_2m, euler, heun, sampler_named, unipc
from minisora.diffusion.times import logit_normal, schedule, shift_for_tokens, shift_times, unshift_times

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "JointDenoiser",
    "Sampler",
    "VelocityFn",
    "consistency",
    "dpmpp_2m",
    "euler",
    "extrapolated",
    "finish",
    "flow_matching_loss",
    "from_velocity",
    "guided_joint",
    "heun",
    "in_interval",
    "interpolate",
    "logit_normal",
    "loss_by_bin",
    "mean_loss",
    "noised",
    "sampler_named",
    "schedule",
    "shift_for_tokens",
    "shift_times",
    "start",
    "unipc",
    "unshift_times",
    "velocity",
    "velocity_error",
    "x0_from_velocity",
]
