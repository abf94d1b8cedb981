"""VideoGPT's codebook against closed forms, its transformer's order and cache."""

from __future__ import annotations

import math

import pytest
import torch

from minisora.zoo import videogpt
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import FIELDS, ToyBatch
from minisora.zoo.nets.causal import Cache, CausalTransformer, Norm, drawn
from minisora.zoo.videogpt import GPT, LENGTH, VQVAE, Codebook, K

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


@pytest.fixture
def vqvae():
    torch.manual_seed(0)
    return VQVAE().eval()


@pytest.fixture
def gpt(vqvae):
    torch.manual_seed(0)
    gpt = GPT(vqvae)
    torch.nn.init.normal_(gpt.head.weight, std=0.5)
    return gpt.eval()


def test_the_nearest_code_is_that_of_cdist():
    book, z = Codebook(), torch.randn(3, 7, videogpt.CODE_WIDTH)
    torch.testing.assert_close(book.nearest(z), torch.cdist(z, book.e[None].expand(3, -1, -1)).argmin(-1))


def test_codes_go_to_the_means_of_what_chooses_them():
    """The minimum of |sg[z] - e|^2; averages forget where they began as GAMMA^steps."""
    book, rng = Codebook(), torch.Generator().manual_seed(0)
    z = torch.randn(40, videogpt.CODE_WIDTH, generator=rng)
    codes = torch.arange(40) % 2
    for _ in range(1500):
        book.follow(z, codes, rng)
    for code in (0, 1):
        torch.testing.assert_close(book.e[code], z[codes == code].mean(0), atol=1e-4, rtol=1e-4)
        assert float(book.N[code]) == pytest.approx(20, rel=1e-4)
    others = torch.cdist(book.e[2:], z).amin(1)
    assert others.max() < 0.01  # codes that nobody chooses begin again at vectors that are there


def test_gradients_pass_the_codebook_as_they_are(vqvae):
    torch.manual_seed(0)
    z = torch.randn(2, *videogpt.GRID, videogpt.CODE_WIDTH, requires_grad=True)
    vqvae.vectors, vqvae.pixels = lambda x: x, lambda e: e.pow(2)
    out, commitment = vqvae(z, torch.Generator())
    e = vqvae.codebook.e[vqvae.codebook.nearest(z)]
    torch.testing.assert_close(out, e.pow(2))
    (gradient,) = torch.autograd.grad(out.sum(), z, retain_graph=True)
    torch.testing.assert_close(gradient, 2 * e)  # d/de, given to z
    (pull,) = torch.autograd.grad(commitment, z)
    torch.testing.assert_close(pull, 2 * (z - e) / z.numel())


def test_perplexity_of_codes():
    assert videogpt.perplexity(torch.arange(64).repeat(3)) == pytest.approx(64, rel=1e-4)
    assert videogpt.perplexity(torch.zeros(9, dtype=torch.long)) == pytest.approx(1)


def test_a_new_gpt_spends_the_bits_of_a_uniform_draw(vqvae):
    batch = ToyBatch(torch.randn(2, *videogpt.CLIPS_32.shape).clamp(-1, 1), LABELS)
    nats = videogpt.loss(GPT(vqvae), batch, torch.Generator())["loss"]
    assert float(nats.detach()) / math.log(2) == pytest.approx(math.log2(K), rel=1e-4)


def test_the_tokenizer_is_no_part_of_the_gpt(gpt, vqvae):
    assert not {id(p) for p in gpt.parameters()} & {id(p) for p in vqvae.parameters()}


def test_no_code_sees_a_later_one(gpt):
    torch.manual_seed(1)
    before = torch.randint(K, (2, LENGTH))
    later = before.clone()
    later[:, 100:] = (later[:, 100:] + 1) % K
    one, other = gpt(before, LABELS), gpt(later, LABELS)
    torch.testing.assert_close(one[:, :100], other[:, :100])
    assert not torch.allclose(one[:, 100], other[:, 100])


def test_writing_with_the_cache_is_writing_anew(gpt):
    codes = videogpt.written(gpt, Ask(LABELS, torch.Generator().manual_seed(0)))
    assert codes.shape == (2, LENGTH)
    before = torch.cat([torch.full((2, 1), K), codes[:, :-1]], 1)
    whole, noise = gpt(before, LABELS), torch.Generator().manual_seed(0)
    again = [drawn(whole[:, place], noise) for place in range(LENGTH)]
    torch.testing.assert_close(torch.cat(again, 1), codes)


def test_a_prefix_sees_itself_both_ways_and_a_cache_reads_it_at_once():
    torch.manual_seed(0)
    net = CausalTransformer(32, 2, 2).double()
    x = torch.randn(2, 10, 32, dtype=torch.float64)
    whole = net(x, prefix=4)
    changed = x.clone()
    changed[:, 3] *= -1
    assert not torch.allclose(net(changed, prefix=4)[:, 0], whole[:, 0])
    changed = x.clone()
    changed[:, 4] *= -1
    torch.testing.assert_close(net(changed, prefix=4)[:, :4], whole[:, :4])
    cache = Cache(2, 10)
    parts = [net(part, prefix=4, cache=cache) for part in (x[:, :5], x[:, 5:6], x[:, 6:])]
    torch.testing.assert_close(torch.cat(parts, 1), whole)


def test_without_a_prefix_the_transformer_is_torch_s():
    """torch's encoder with the norms first and a causal mask, given the same weights."""
    torch.manual_seed(0)
    net = CausalTransformer(32, 1, 2).double()
    theirs = torch.nn.TransformerEncoderLayer(
        32, 2, 128, 0.0, torch.nn.functional.gelu, batch_first=True, norm_first=True
    ).double()
    block = net.blocks[0]
    pairs = {
        "self_attn.in_proj_weight": block.qkv.weight,
        "self_attn.in_proj_bias": block.qkv.bias,
        "self_attn.out_proj.weight": block.out.weight,
        "self_attn.out_proj.bias": block.out.bias,
        "linear1.weight": block.mlp[0].weight,
        "linear1.bias": block.mlp[0].bias,
        "linear2.weight": block.mlp[2].weight,
        "linear2.bias": block.mlp[2].bias,
    }
    theirs.load_state_dict(pairs, strict=False)
    x = torch.randn(2, 10, 32, dtype=torch.float64)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(10, dtype=torch.float64)
    torch.testing.assert_close(net(x), net.norm(theirs(x, src_mask=mask)))


def test_a_condition_is_gain_and_bias_of_the_norm():
    norm = Norm(4, condition=3)
    torch.nn.init.normal_(norm.affine.weight)
    x, condition = torch.randn(2, 5, 4), torch.randn(2, 3)
    gain, bias = norm.affine(condition).chunk(2, -1)
    for n in range(2):
        wanted = torch.nn.functional.layer_norm(x[n], (4,), 1 + gain[n], bias[n])
        torch.testing.assert_close(norm(x, condition)[n], wanted)


def test_the_likeliest_token_is_drawn_at_temperature_0():
    logits = torch.randn(3, 8)
    torch.testing.assert_close(drawn(logits, torch.Generator(), temperature=0)[:, 0], logits.argmax(1))
