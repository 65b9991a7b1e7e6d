"""Layouts that are recognised, so that an error can say what a file is, but not read."""

import re
from itertools import islice
from typing import Any

from weights_convert.unpickle import Record
from weights_convert.values import TENSORS, named_tensors

READ = (
    "NVIDIA's StyleGAN2 pickles, of TensorFlow or PyTorch, .pt files of rosinality's stylegan2-pytorch, MobileStyleGAN,"
    " ProgressiveGAN, BigGAN-deep, L2M-GAN, StarGAN v2, DeepLab, ResNet-18 and 50, SE-ResNet-50 of VGGFace2, models"
    " of sentence-transformers, and the networks of IALS, LPIPS, face-api and face-parsing.PyTorch are read"
)
MAX_NAMES, MAX_VALUES = 2000, 100_000
SAVE_NETWORK = "it does not say how the network was built; save the network itself: pickle.dump(dict(G_ema=G), file)"

# What is in the name of one of the tensors -> what the file is. The first that fits counts.
NAMES = {
    r"ecd0\.": "GPEN, a network that restores faces",
    r"stylegan_decoder\.": "GFPGAN, a network that restores faces",
    r"constant_input\.(weight|const)$": "a StyleGAN2 in the layout of BasicSR or MMGeneration",
    r"synthesis\.early_layer\.": "a StyleGAN of genforce",
    r"initial_block$": "lucidrains' stylegan2-pytorch, which is another architecture",
    r"progression\.\d+\.": "rosinality's style-based-gan-pytorch, which is StyleGAN1 (or a progressive GAN)",
    r"synthesis\.input\.(weight|freqs|phases|affine\.weight)$": "StyleGAN3",
    r"backbone\.synthesis\.b4\.const$": "EG3D",
    r"synthesis\.b4\.const$": f"a state dict of NVIDIA's PyTorch generator; {SAVE_NETWORK}",
    r"b4\.fc\.weight$": f"a state dict of NVIDIA's PyTorch discriminator; {SAVE_NETWORK}",
    r"lin0\.model\.1\.weight$": "the heads of LPIPS; convert the trunk's file and name this one with --heads",
    r"features\.0\.weight$": "a VGG or AlexNet; for LPIPS name its heads with --heads",
    r"Conv2d_1a_3x3\.conv\.weight$": "an Inception network",
    r"input_layer\.0\.weight$": "an IR-SE network, for face recognition or as the encoder of pSp and e4e",
    r"layer1\.0\.conv1\.weight$": "a ResNet",
    r"state\.\d+\.exp_avg$": "the state of an optimizer",
}


def description(content: Any) -> str | None:
    """What a file without a StyleGAN2 network holds; None if that is not known."""
    items = content if type(content) in (list, tuple) else [content]
    if items and all(type(item) is Record and item.kind == "network.Network" for item in items):
        return (
            "a ProgressiveGAN of its Theano code, which misc.load_pkl and misc.save_pkl of the TensorFlow code convert"
        )
    if items and all(type(item) in TENSORS for item in items):
        return "tensors without names, perhaps latents or a direction, which `jaxedit edit` reads as they are"
    names = [name for name, _ in islice(named_tensors(content, MAX_VALUES), MAX_NAMES)]
    for pattern, what in NAMES.items():
        if any(re.search(rf"(^|\.){pattern}", name) for name in names):
            return what
    return None
