"""What each command of the command line takes; the texts are its help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from jaxedit.cli.arguments import Named, Positional, Renamed

Existing = Literal["error", "skip", "overwrite"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Computing:
    """Options of every command that compiles programs."""

    cache: str | None = None
    """Folder that keeps compiled programs for the next run, or `off`. Default: $JAX_COMPILATION_CACHE_DIR, or `jaxedit`
    in the user's cache folder, which holds at most 1 GiB."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Writing(Computing):
    """Options of every command that writes pictures, one file each."""

    output: Path
    """Directory for the PNG files; made if needed."""
    grid: bool = False
    """Also write grid.png, a sheet of all pictures, shrunk where needed."""
    batch_size: int | None = None
    """Pictures computed at a time, a multiple of the number of devices; all batches have this size. Default: 8."""
    existing: Existing = "error"
    """What to do if a picture exists already: refuse, skip it (resumes an interrupted run), or overwrite it. Pictures
    of other settings (truncation, directions, ...) are never mixed: overwriting is refused if some would stay."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing(Writing):
    """Options of every command that draws pictures with a checkpoint."""

    checkpoint: Positional[Path]
    """Checkpoint directory, as written by `python -m weights_convert`, or `avatars` for the built-in generator."""
    truncation_psi: float = 1.0
    """Truncation towards the average w, for seeds: 1 is none, 0.7 usual, 0 the average image. BigGAN takes the
    statistics of a truncation, above 0, and leaves z as it is."""
    truncation_cutoff: int | None = None
    """Truncate only the first so many rows of W+: 0 to all."""
    noise_mode: Literal["const", "none", "random"] = "const"
    """Noise maps stored in the checkpoint, none, or drawn anew for every seed (repeatably)."""
    label: Annotated[int | None, Named("class")] = None
    """Class label of a conditional network, for seeds or z codes."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the synthesis network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generate(Drawing):
    """Draw pictures of seeds: seed0000.png, seed0001.png, ..."""

    seeds: tuple[str, ...]
    """Seeds such as 0 1 2, 0-31 or 0,4,7-9, at most a million; the same latents as NVIDIA's scripts draw for them."""
    save_latents: bool = False
    """Also write z.safetensors and, where there is a W, w.safetensors, the pictures' latents by name, for
    `fit-direction` and `edit`."""
    scores: bool = False
    """Also write scores.csv, what the built-in classifier says about each picture of the built-in generator, for
    `fit-direction`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit(Drawing):
    """Move latents along directions and draw them, once for every strength: seed0000_-3.png, seed0000_+3.png, ..."""

    seeds: tuple[str, ...] = ()
    """Seeds to edit, such as 0 1 2, 0-31 or 0,4,7-9. Give these or --latents."""
    latents: Path | None = None
    """File of W+ codes (N, num_ws, w_dim) or W codes (N, w_dim), of BigGAN and ProgressiveGAN z codes (N, z_dim):
    .npy, .npz, .safetensors, .pt. Named code0000, ... (num_ws, w_dim) is one W+ code. A file with a code under each of
    several names, or a folder of files with one code each: the pictures have these names, with _ for dots and
    slashes."""
    direction: Annotated[tuple[Path, ...], Named(alias="directions")] = ()
    """Direction file: .npy, .npz, .safetensors, .pt (never executed); FILE:ROW, one of several in a file, such as
    GANSpace's pca.npz:3; or of the built-in generator an attribute, such as smile. Several are added up, after one
    option or each after its own."""
    strengths: Annotated[tuple[float, ...], Named(alias="strength")] = (1.0,)
    """Strengths to sweep, such as -3 0 3: one picture each. Several directions move by strength times weight."""
    weights: tuple[float, ...] = ()
    """One per direction, in order; default 1. `--weights 1 -0.5` adds the first, subtracts half of the second."""
    layers: str | None = None
    """Limit directions to rows of W+, such as 4-7 or 0,2,5-6; for S, to style layers by number or name."""
    space: str | None = None
    """Space of a direction file that does not say it, or of a built-in direction. Default: what its shape fits, and W
    rather than Z."""
    any_generator: bool = False
    """Also use directions that were made for other weights, such as those that a fine-tuned generator began with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervene(Drawing):
    """Edit an attribute and leave everything outside its region alone (Style Intervention): NAME_ATTRIBUTE+2.5.png.

    For the built-in generator --attribute is all it needs. --grid shows original, plain edit and intervention of each
    picture drawn.
    """

    attribute: Annotated[tuple[str, ...], Named(alias="attributes")] = ()
    """Attribute of the built-in generator, such as smile: its directions, and its region."""
    direction: Path | None = None
    """Edit to make local: a direction in Z, W or W+ (Z only for seeds) ..."""
    normal: Path | None = None
    """... and the sparse direction of the same attribute in S that it is mixed with, as from `fit-direction`."""
    space: str | None = None
    """Space of a --direction file that does not say it. Default: what its shape fits, and W rather than Z."""
    any_generator: bool = False
    """Also use directions that were made for other weights, such as those that a fine-tuned generator began with."""
    strengths: Annotated[tuple[float, ...], Named(alias="strength")] = (2.5,)
    """How far to go along the direction, in its units; may be negative."""
    seeds: tuple[str, ...] = ()
    """Seeds to edit, such as 0 1 2, 0-31 or 0,4,7-9 ..."""
    latents: Path | None = None
    """... or W or W+ codes, as for `edit`."""
    region: str | None = None
    """What may change, by parsing classes: an attribute, hair, mouth, eyes, face, a class, or a sum such as hair+hat.
    Default: that of --attribute. Of a parser of scenes, its classes: cat, sky-other+clouds."""
    parser: Path | None = None
    """Parser of faces (BiSeNet) or scenes (DeepLab), for --region. Default: the built-in one for the built-in
    generator."""
    faces: Path | None = None
    """Folder of face-api's networks, whose landmarks outline the --region: mouth, lips, eyes, brows, nose, face, ..."""
    mask: Path | None = None
    """What may change, as a PNG file (white) of the images' size, or a folder with one for each: seed0000.png, ..."""
    dilation: int | None = None
    """Pixels of the elliptic kernel that the region grows by. Default: 50 at 1024 px in proportion; 1 for --mask."""
    mode: Literal["layerwise", "joint"] = "layerwise"
    """The published algorithm, layer after layer, or all layers at once, which is several times faster."""
    attribute_weight: float = 1e-2
    """Weight of the attribute's loss: more keeps more of the edit."""
    learning_rate: float | None = None
    """Of Adam. Default: 1, or 0.3 for --mode joint."""
    max_steps: int = 20
    """At most so many per layer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitDirection(Computing):
    """Fit a linear support vector machine to labelled latents and write its normal as a direction file.

    With --samples it draws the latents itself, and a network that knows the --attribute labels them.
    """

    latents: Positional[Path | None] = None
    """A file of latents, one per row (.npy, .npz, .safetensors, .pt) or one under each name, or a folder of such files,
    in natural order (2 before 10). Styles are flat."""
    output: Path
    """The direction file, ending in .safetensors."""
    labels: Path | None = None
    """One 0 or 1 per latent (or -1 or 1, no or yes, false or true): a .npy file, a .csv file, or text with a number per
    line or `NAME NUMBER` lines (NAME: the latent's file). A header line is skipped. Default: labels.npy, labels.txt or
    labels.csv in the folder."""
    attribute: str | None = None
    """The column of --labels, if they are a table with a header, such as CelebA's list_attr_celeba.txt; or what to
    look at in --samples: an attribute of the built-in generator, or of --faces smile, age, gender, mouth_open,
    narrow_eyes, surprise or yaw."""
    samples: int | None = None
    """In place of latents: so many drawn ones of the --checkpoint, looked at by a network."""
    faces: Path | None = None
    """Folder of face-api's networks, which look at the --samples of generators of photographs."""
    space: str = "w"
    """Space of the direction, of StyleGAN2 z, w, w_plus or s; in s most of its channels are zero."""
    latents_space: str | None = None
    """Space of the latents, if the generator is to take them to the direction's. Default: the same."""
    checkpoint: Path | None = None
    """The generator of the latents, as for `generate`. With it the direction's file says whose it is."""
    fraction: float | None = None
    """The labels are scores of any scale: the highest and the lowest such share are the samples, such as 0.02."""
    condition: tuple[Path, ...] = ()
    """Directions of the same space to leave alone: what the new one shares with them is projected out."""
    sparsity: float = 0.93
    """Share of zeros at least, in s."""
    seed: int = 0
    """Of the division into training and held-out samples."""
    existing: Literal["error", "overwrite"] = "error"
    """What to do if the output exists already."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitParser(Computing):
    """Fit a parser of the feature maps of a generator to labelled samples: with it `find-direction` needs no other.

    A hundred samples are enough, since what a generator draws can be read off its feature maps linearly (LinearGAN).
    The folder gets parser/, for --parser.
    """

    checkpoint: Positional[Path]
    """Checkpoint directory, as written by `python -m weights_convert`, or `avatars` for the built-in generator."""
    output: Path
    """Directory for the parser and the training; made if needed."""
    labels: Path | None = None
    """Folder with seed0000.png, ...: grey pictures whose values are the classes, 0 to 18 as in CelebAMask-HQ's order of
    face-parsing.PyTorch, of any size. Default: a parser of images labels the samples."""
    parser: Path | None = None
    """The parser of faces that labels the samples. Default: the built-in one for the built-in generator."""
    seeds: tuple[str, ...] = ("0-99",)
    """The samples, such as 0-99. Every fifth is held out and says how good the parser is."""
    truncation_psi: float = 0.7
    """Truncation of the samples towards the average w."""
    label: Annotated[int | None, Named("class")] = None
    """Class label of a conditional network."""
    resolution: int | None = None
    """Side of the parsing in pixels. Default: the generator's, at most 256."""
    steps: int = 1000
    """Of the training, of four samples each."""
    seed: int = 0
    """Of the training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindDirection(Computing):
    """Find directions that change one part of the image and leave the others alone (LELSD), and draw a sheet of them.

    The folder gets PART.safetensors (PART_0.safetensors, ... of several directions) for `edit`, grid.png, and
    directions.json with scores and settings.
    """

    checkpoint: Positional[Path]
    """Checkpoint directory, as written by `python -m weights_convert`, or `avatars` for the built-in generator."""
    part: Annotated[tuple[str, ...], Named(alias="parts")]
    """Part to change, such as mouth, eyes or hair, or a sum such as hair+hat; several are trained at once.
    Of a parser of scenes, its classes: cat, sky-other+clouds."""
    output: Path
    """Directory for the files; made if needed."""
    directions: int = 1
    """Directions for each part, which are kept apart."""
    space: str = "w_plus"
    """Space of the directions, of StyleGAN2 z, w, w_plus or s."""
    layers: str | None = None
    """Limit directions to rows of W+, such as 4-7 or 0,2,5-6; for S, to style layers by number or name."""
    parser: Path | None = None
    """Parser of faces (BiSeNet) or scenes (DeepLab), which says where the parts are. Default: the built-in one for the
    built-in generator."""
    faces: Path | None = None
    """Folder of face-api's networks, whose landmarks outline the parts: mouth, lips, eyes, brows, nose, face, ..."""
    preset: Literal["paper", "official"] = "paper"
    """As the paper describes it, or as the released code does it."""
    steps: int = 200
    """Of the optimisation, for each direction."""
    batch_size: int = 4
    """Samples in a step."""
    learning_rate: float = 1e-3
    """Of Adam; halved after every quarter of the steps."""
    reach: float = 1.0
    """Largest strength of either sign that directions are optimised at, for the length 1 that they start with."""
    truncation_psi: float = 0.7
    """Truncation of the samples towards the average w; for BigGAN see `generate`."""
    label: Annotated[int | None, Named("class")] = None
    """Class label of a conditional network."""
    seed: int = 0
    """Of the samples, the strengths and the directions at the start."""
    strengths: Annotated[tuple[float, ...], Named(alias="strength")] = (-10.0, 10.0)
    """Strengths on the sheet."""
    match_distance: float | None = None
    """Draw the sheet at strengths of both signs at which the LPIPS distance is this, such as 0.2, up to --strengths."""
    lpips: Path | None = None
    """The network that --match-distance is measured with."""
    existing: Literal["error", "overwrite"] = "error"
    """What to do if the directory holds a sheet already."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Palette(Computing):
    """Draw one sample along two directions: a sheet with the first from row to row, the second across."""

    checkpoint: Positional[Path]
    """Checkpoint directory, as written by `python -m weights_convert`, or `avatars` for the built-in generator."""
    direction: Annotated[tuple[Path, ...], Named(alias="directions")]
    """Two directions, as for `edit`."""
    output: Path
    """The sheet, a .png file."""
    seed: int = 0
    """Of the sample."""
    strengths: Annotated[tuple[float, ...], Named(alias="strength")] = (-10.0, -5.0, 0.0, 5.0, 10.0)
    """Of both directions."""
    truncation_psi: float = 0.7
    """Truncation of the sample towards the average w."""
    label: Annotated[int | None, Named("class")] = None
    """Class label of a conditional network."""
    space: str | None = None
    """Space of a direction file that does not say it, or of a built-in direction, as for `edit`."""
    any_generator: bool = False
    """Also use directions that were made for other weights, such as those that a fine-tuned generator began with."""
    existing: Literal["error", "overwrite"] = "error"
    """What to do if the sheet exists already."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSurrogate(Computing):
    """Train what `manipulate` needs (SGF): a network that says how latents move for what is read off their pictures.

    Samples are drawn, looked at and kept in DIR/pairs; the network is DIR/surrogate. The same command goes on where it
    was stopped.
    """

    checkpoint: Positional[Path]
    """Checkpoint directory, as written by `python -m weights_convert`, or `avatars` for the built-in generator."""
    output: Path
    """Directory of this training; made if needed."""
    condition: Annotated[tuple[Literal["attributes", "keypoints", "captions"], ...], Named(alias="conditions")] = (
        "attributes",
    )
    """What is read off a picture: attributes, 68 keypoints, the embedding of a caption, or several together."""
    faces: Path | None = None
    """Folder of face-api's networks, which tell attributes and keypoints of faces."""
    classifier: Path | None = None
    """Checkpoint of another network that tells attributes, such as a fine-tuned SE-ResNet-50 ..."""
    attributes: tuple[str, ...] = ()
    """... and the names of its outputs."""
    sentences: Path | None = None
    """Checkpoint of the encoder of captions, all-MiniLM-L6-v2. Default: a bag of words. Captions are of avatars."""
    captioner_images: int = 50_000
    """Avatars that the network which tells captions' embeddings is trained on before."""
    space: str | None = None
    """Space of the latents, of StyleGAN2 z or w. Default: w where there is one."""
    samples: int = 200_000
    """Pairs of latents and conditions."""
    truncation_psi: float = 0.8
    """Truncation of the samples towards the average w; for BigGAN see `generate`."""
    label: Annotated[int | None, Named("class")] = None
    """Class label of a conditional network."""
    layers: int | None = None
    """Of the network. Default: 6 in the first space, else 15."""
    width: int = 512
    """Features of its layers."""
    steps: int = 500_000
    """Of the training, a multiple of 100."""
    batch_size: int = 8
    """Pairs in a step."""
    learning_rate: float = 2e-4
    """Of Adam at its highest: a short warm-up comes before, a cosine down to zero after it."""
    seed: int = 0
    """Of the samples and of the training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manipulate(Computing):
    """Change what is read off pictures to a target (SGF): attributes, keypoints or a caption, one edit after the other.

    The folder gets seed0000_1.png, ... after each edit, latents.safetensors, manipulate.json with what was reached,
    grid.png, and path.png, the way of each edit.
    """

    checkpoint: Positional[Path]
    """Checkpoint directory, as written by `python -m weights_convert`, or `avatars` for the built-in generator."""
    surrogate: Path
    """Directory of `train-surrogate` for this generator."""
    output: Path
    """Directory for the files; made if needed."""
    seeds: tuple[str, ...] = ("0-3",)
    """Seeds to edit, such as 0 1 2, 0-31 or 0,4,7-9."""
    to: tuple[str, ...] = ()
    """Edits, one after the other, such as `smile=1 age=0,eyeglasses=1`: probabilities that attributes shall have, those
    with commas between them at once, others held ..."""
    keypoints: Annotated[tuple[Path, ...], Named(alias="like")] = ()
    """... then such as move the 68 keypoints: a file of x and y, -1 and 1 at the image's edges (.npy, .csv), or a
    picture whose keypoints are taken ..."""
    caption: Annotated[tuple[str, ...], Named(alias="captions")] = ()
    """... then such as make a caption true: "a woman with red hair and glasses"."""
    faces: Path | None = None
    """Folder of face-api's networks, if `train-surrogate` was given it."""
    classifier: Path | None = None
    """The network of attributes, if `train-surrogate` was given it."""
    sentences: Path | None = None
    """The encoder of captions, if `train-surrogate` was given it."""
    order: int = 1
    """Terms of the Neumann series after the first."""
    step: float = 0.2
    """Part of the way that a step is meant to go."""
    max_steps: int = 30
    """At most so many for each edit."""
    threshold: float = 0.1
    """How close is close enough: of an attribute's probability; of keypoints 0.15 times this of the image's width, of
    captions 3 times this."""
    solver: Literal["euler", "midpoint", "rk4"] = "euler"
    """Of the differential equation."""
    label: Annotated[int | None, Named("class")] = None
    """Class label of a conditional network."""
    existing: Literal["error", "overwrite"] = "error"
    """What to do if the directory holds a sheet already."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a checkpoint directory or a direction file holds."""

    path: Positional[Path]
    """Checkpoint directory, direction file, or `avatars` for the built-in generator."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(Computing):
    """Edit samples and draw an annotated sheet, DIR/grid.png.

    Of the built-in generator, by Style Intervention, it needs no download and runs in under two minutes on a CPU. Of a
    MobileStyleGAN or StyleGAN2 of FFHQ the samples move along directions in W that come with the package.
    """

    checkpoint: Positional[Path] = Path("avatars")
    """Checkpoint directory of faces, as written by `python -m weights_convert`. Default: the built-in generator."""
    any_generator: bool = False
    """Also move samples of other generators than the published MobileStyleGAN, such as StyleGAN2-FFHQ."""
    output: Path = Path("demo")
    """Directory for the sheet, the pictures and the directions; made if needed."""
    existing: Literal["error", "overwrite"] = "error"
    """What to do if the directory holds a sheet already: refuse, or draw everything anew."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainStyleGAN2(Computing):
    """Train a StyleGAN2 on avatars or on a folder of images. The same command goes on where it was stopped.

    The output directory gets log.jsonl, pictures, snapshots to go on from, and at the end the checkpoints `generator`
    (its moving average, for all other commands) and `discriminator`.
    """

    data: str
    """`avatars` (drawn by the package, without an end), or a folder of PNG, JPEG or WebP files."""
    output: Path
    """Directory of this training."""
    images: int
    """Real images to show in all. More than before prolongs a finished training."""
    resolution: int = 64
    """Size of the images in pixels, a power of two."""
    batch_size: int = 16
    """Images of a step, a multiple of 4 and of the number of devices."""
    seed: int = 0
    """Of everything random."""
    channel_base: int = 32768
    """Channels at resolution r are this divided by r, in both networks ..."""
    channel_max: int = 512
    """... and at most this."""
    z_dim: int = 512
    """Length of z."""
    w_dim: int = 512
    """Length of w."""
    r1_gamma: float | None = None
    """Weight of the gradient penalty. Default: 0.0002 * resolution^2 / batch size."""
    learning_rate: float = 0.002
    """Of both networks."""
    augment: Literal["off", "ada"] = "off"
    """ada: what the discriminator sees is augmented as much as keeps it from overfitting, for few images."""
    mirror: bool = False
    """Mirror half of a folder's images."""
    init: Path | None = None
    """Start from this generator; its architecture overrules --channel-base, --channel-max, --z-dim and --w-dim. For
    10,000 images the new discriminator learns alone, and over as many more the generator's learning rate rises."""
    snapshot_images: int = 20_000
    """Images between two snapshots, each with a sheet of pictures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainL2MGan(Computing):
    """Train a translator of images between domains (L2M-GAN). The same command goes on where it was stopped.

    The output directory gets log.jsonl, pictures, snapshots to go on from, and at the end the checkpoints `generator`,
    `style_encoder` (moving averages, for `translate`) and `discriminator`.
    """

    data: str
    """`avatars` (drawn by the package, without an end), or a folder with a folder of images for each domain."""
    output: Path
    """Directory of this training; made if needed."""
    steps: int = 100_000
    """Of the training. More than before prolongs a finished one."""
    attributes: tuple[str, ...] = ("smile",)
    """Of avatars, whose combinations are the domains."""
    resolution: int = 256
    """Size of the images in pixels, a power of two from 64."""
    batch_size: int = 8
    """Images of a step, a multiple of the number of domains and of devices."""
    width: int | None = None
    """Channels at full size. Default: 16384 / resolution."""
    max_width: int = 512
    """Of channels."""
    fan: Path | None = None
    """Network of landmarks whose masks let details through high-pass skips, for faces; with it the generator has no
    shortcuts, as published."""
    perceptual: Path | None = None
    """ResNet-18, whose features translations keep. Default: for avatars the classifier's; else none is kept."""
    learning_rate: float = 1e-4
    """Of Adam."""
    lambda_cyc: float = 1.0
    """Weight of the cycle's loss ..."""
    lambda_sty: float = 2.0
    """... of the style's ..."""
    lambda_per: float = 2.0
    """... of the perceptual loss ..."""
    lambda_ort: float = 1.0
    """... and of the orthogonality."""
    mirror: bool = False
    """Mirror half of a folder's images."""
    seed: int = 0
    """Of the networks and of the data."""
    snapshot_steps: int = 1000
    """Steps between two snapshots, each with a sheet of pictures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translate(Writing):
    """Take photos to other domains, or make them like references, without inversion (L2M-GAN): NAME_smiling+1.png.

    Photos are turned upright, cropped to the largest square in the middle and resized to the model's size.
    """

    model: Positional[Path]
    """Folder with `generator` and `style_encoder`, and `fan` if it needs masks: of `train-l2m-gan`, or converted."""
    photos: Positional[Path]
    """A picture, or a folder of PNG, JPEG and WebP files and the folders below it."""
    to: tuple[str, ...] = ()
    """Domains to go to, by name, or by number in a converted model. One domain, of the references, with --reference."""
    strengths: tuple[float, ...] = (1.0,)
    """How far to go, one picture each: 0 is the photo's own style, 1 the edit, more a stronger one."""
    reference: Path | None = None
    """A picture, or a folder of them, whose look photos are to get: NAME_REFERENCE+1.png. Without --to, a reference is
    of the domain whose name its folder has."""
    source: str | None = None
    """Domain of the photos. Default: that whose name the folder of a photo has."""


RENAMED = {
    "network": Renamed("checkpoint", "a directory; python -m weights_convert makes it of the file"),
    "network-pkl": Renamed("checkpoint", "a directory; python -m weights_convert makes it of the file"),
    "ckpt": Renamed("checkpoint", "a directory; python -m weights_convert makes it of the file"),
    "outdir": Renamed("output"),
    "result-dir": Renamed("output"),
    "trunc": Renamed("truncation_psi"),
    "truncation": Renamed("truncation_psi"),
    "psi": Renamed("truncation_psi"),
    "class-idx": Renamed("label"),
    "seed": Renamed("seeds"),
    "row-seeds": Renamed("seeds"),
    "projected-w": Renamed("latents"),
    "batch": Renamed("batch_size"),
    "minibatch-size": Renamed("batch_size"),
    "noise": Renamed("noise_mode"),
    "alpha": Renamed("strengths"),
    "steps": Renamed("max_steps"),
    "lr": Renamed("learning_rate"),
    "glr": Renamed("learning_rate", "of both networks"),
    "dlr": Renamed("learning_rate", "of both networks"),
    "size": Renamed("resolution"),
    "gamma": Renamed("r1_gamma"),
    "kimg": Renamed("images", "single images, not thousands"),
    "total-kimg": Renamed("images", "single images, not thousands"),
    "snap": Renamed("snapshot_images", "counted in images"),
    "aug": Renamed("augment"),
    "mirror-augment": Renamed("mirror"),
    "resume": Renamed("init", "a training goes on by itself when the same command is given again"),
    "gpus": Renamed("", "all devices of the machine are used; CUDA_VISIBLE_DEVICES chooses among them"),
    "num-gpus": Renamed("", "all devices of the machine are used; CUDA_VISIBLE_DEVICES chooses among them"),
}
"""Options of NVIDIA's and others' programs, and the fields that they are here."""

Command = (
    Generate
    | Edit
    | Intervene
    | FitDirection
    | FitParser
    | FindDirection
    | Palette
    | Info
    | Demo
    | TrainStyleGAN2
    | TrainSurrogate
    | TrainL2MGan
    | Translate
    | Manipulate
)
