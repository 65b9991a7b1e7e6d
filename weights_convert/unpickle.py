"""A pickle machine that can only build data.

`pickle.Unpickler` imports whatever the file names and lets the file call it. This machine has no way to do so: a global
name is looked up in an allow-list whose values are our own functions, every other name ends the reading, and objects
are lists, dicts, sets, numbers, text, byte views into the file, and the inert classes below. It interprets the binary
opcodes of protocols 2 to 5 and copies no bytes: a tensor stays in the (memory-mapped) file until it is asked for.
Strings of Python 2, which are text or bytes, are text where they could be a key, and bytes where they are longer.
"""

import dataclasses
import struct
from collections.abc import Callable, Mapping
from typing import Any

from weights_convert.errors import ConversionError, printable

MAX_OPCODES = 2_000_000  # a full StyleGAN2 training pickle has about 100,000
MAX_TEXT = 128 << 20  # bytes of text; decoding can take four times as much memory
MAX_INTEGER_BYTES = 32
MAX_INTEGER_KEY = 1 << 32  # larger integers can be chosen to collide in a dict
MAX_KEY = 4096  # characters
MAX_ARGUMENTS = 16

Allowed = Mapping[tuple[str, str], Callable[..., Any] | None]


@dataclasses.dataclass(eq=False, slots=True)
class Global:
    """A name of the allow-list as a pickle mentions it; `call` is our own function, None when it may not be called."""

    name: str
    call: Callable[..., Any] | None


@dataclasses.dataclass(eq=False, slots=True)
class Record:
    """An object whose class we do not have: what it was, and its attributes as plain data."""

    kind: str
    state: dict[str, Any]

    def build(self, state: Any) -> None:
        if type(state) is not dict or self.state:
            raise ConversionError(f"an object of {self.kind} has a state that is not one dict")
        self.state = state


def record(kind: str) -> Callable[[], Record]:
    """The allow-list entry of a class whose instances become `Record`s."""
    return lambda: Record(kind, {})


@dataclasses.dataclass
class Budget:
    """What reading one file may still cost, shared by a file's pickles and the pickles inside them."""

    opcodes: int = MAX_OPCODES
    text: int = MAX_TEXT

    def spend(self, *, opcodes: int = 0, text: int = 0) -> None:
        self.opcodes -= opcodes
        self.text -= text
        if self.opcodes < 0:
            raise ConversionError(f"the pickle has more than {MAX_OPCODES} opcodes")
        if self.text < 0:
            raise ConversionError(f"the pickle has more than {MAX_TEXT >> 20} MiB of text")


class _Machine:
    def __init__(
        self,
        data: memoryview,
        position: int,
        allowed: Allowed,
        budget: Budget,
        persistent_load: Callable[[Any], Any] | None,
    ):
        self.data, self.position = data, position
        self.allowed, self.budget, self.persistent_load = allowed, budget, persistent_load
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> tuple[Any, int]:
        while True:
            self.budget.spend(opcodes=1)
            start = self.position
            opcode = bytes(self.take(1))
            step = _STEPS.get(opcode)
            if step is None and opcode != b".":
                raise ConversionError(f"pickle opcode {opcode!r} at byte {start} is not used by any supported format")
            try:
                if step is None:
                    return self.stack.pop(), self.position
                step(self)
            except (IndexError, KeyError, TypeError, AttributeError, UnicodeError, struct.error) as error:
                raise ConversionError(f"malformed pickle: opcode {opcode!r} at byte {start}") from error

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self.data) - self.position:
            raise ConversionError("the data ends in the middle of a pickle: the file is truncated or damaged")
        self.position += size
        return self.data[self.position - size : self.position]

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self) -> str:
        for end in range(self.position, min(self.position + 1000, len(self.data))):
            if self.data[end] == 0x0A:
                return str(self.take(end + 1 - self.position)[:-1], "utf-8")
        raise ConversionError("malformed pickle: a name without an end")

    def decode(self, data: memoryview, encoding: str) -> str:
        self.budget.spend(text=len(data))
        return str(data, encoding, "surrogatepass" if encoding == "utf-8" else "strict")

    def string(self, size: int) -> str | memoryview:
        """Of Python 2: text, such as a name, or bytes, such as an array's, which may be more than text may take."""
        data = self.take(size)
        return data if size > MAX_KEY else self.decode(data, "latin-1")

    def integer(self, size: int) -> int:
        if size > MAX_INTEGER_BYTES:
            raise ConversionError(f"the pickle has an integer of {size} bytes")
        return int.from_bytes(self.take(size), "little", signed=True)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, kind: type | None = None) -> Any:
        value = self.stack.pop()
        if kind is not None and type(value) is not kind:
            raise TypeError
        return value

    def pop_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError
        return self.stack[-1]

    def drop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def find(self, module: str, name: str) -> None:
        if (module, name) not in self.allowed:
            shown = printable(f"{module}.{name}", 200)
            raise ConversionError(
                f"refused: the pickle asks for {shown}, which no supported format needs; nothing was executed"
            )
        self.push(Global(f"{module}.{name}", self.allowed[module, name]))

    def stack_global(self) -> None:
        name, module = self.pop(str), self.pop(str)
        self.find(module, name)

    def call(self, function: Any, args: Any) -> None:
        if type(function) is not Global or type(args) is not tuple or function.call is None:
            raise ConversionError(
                "refused: the pickle calls something that is not a known function; nothing was executed"
            )
        self.charge(args)
        self.push(function.call(*args))

    def charge(self, args: tuple[Any, ...]) -> None:
        """Counts what a function may copy, each time it is called. None copies bytes or views, so those are free."""
        if len(args) > MAX_ARGUMENTS:
            raise ConversionError(f"the pickle calls a function with more than {MAX_ARGUMENTS} arguments")
        for value in args:
            if type(value) is str:
                self.budget.spend(text=len(value))
            elif type(value) in (list, tuple, dict, set):
                self.budget.spend(text=100 * len(value))

    def reduce(self) -> None:
        args, function = self.pop(), self.pop()
        self.call(function, args)

    def new_object_with_keywords(self) -> None:
        if self.pop(dict):
            raise ConversionError("refused: the pickle creates an object with keywords; nothing was executed")
        self.reduce()

    def old_instance(self) -> None:
        self.find(self.line(), self.line())
        function = self.pop()
        self.call(function, tuple(self.pop_mark()))

    def old_object(self) -> None:
        items = self.pop_mark()
        self.call(items[0], tuple(items[1:]))

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if type(target) is dict:  # attributes of a dict subclass, such as a state dict's version numbers
            return
        if type(target) in (Global, list, tuple, set, str, int, float) or not hasattr(target, "build"):
            raise ConversionError(
                "refused: the pickle sets attributes of something that has none; nothing was executed"
            )
        if type(state) is tuple:
            self.charge(state)
        target.build(state)

    def persistent(self) -> None:
        if self.persistent_load is None:
            raise ConversionError("refused: the pickle refers to data outside itself")
        self.push(self.persistent_load(self.pop()))

    def store(self, items: list[Any]) -> None:
        target = self.top(dict)
        if len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[plain_key(key)] = value

    def add(self, items: list[Any]) -> None:
        self.top(set).update(map(plain_key, items))

    def make_dict(self) -> None:
        items = self.pop_mark()
        self.push({})
        self.store(items)


def plain_key(value: Any) -> Any:
    """A short dict key or set element whose hash takes constant time."""
    if value is None or type(value) is bool or (type(value) is int and abs(value) < MAX_INTEGER_KEY):
        return value
    if type(value) is str:
        if len(value) > MAX_KEY:
            raise ConversionError(f"the pickle has a key of more than {MAX_KEY} characters")
        return value
    raise ConversionError(f"the pickle uses a {type(value).__name__} as a key")


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda m: m.push(value)


def _number(code: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.number(code))


def _text(code: str, encoding: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.decode(m.take(m.number(code)), encoding))


def _bytes(code: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(code)))


def _tuple(size: int) -> Callable[[_Machine], None]:
    return lambda m: m.push(tuple([m.pop() for _ in range(size)][::-1]))


def _memoize(index: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def step(m: _Machine) -> None:
        m.memo[index(m)] = m.stack[-1]

    return step


_STEPS: dict[bytes, Callable[[_Machine], Any]] = {
    # framing and the stack
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"0": lambda m: m.drop(),
    b"1": lambda m: m.pop_mark(),
    b"2": lambda m: m.push(m.stack[-1]),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"q": _memoize(lambda m: m.number("<B")),
    b"r": _memoize(lambda m: m.number("<I")),
    b"\x94": _memoize(lambda m: len(m.memo)),
    # values
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"J": _number("<i"),
    b"K": _number("<B"),
    b"M": _number("<H"),
    b"G": _number(">d"),
    b"\x8a": lambda m: m.push(m.integer(m.number("<B"))),
    b"\x8b": lambda m: m.push(m.integer(m.number("<i"))),
    b"T": lambda m: m.push(m.string(m.number("<i"))),
    b"U": _text("<B", "latin-1"),
    b"X": _text("<I", "utf-8"),
    b"\x8c": _text("<B", "utf-8"),
    b"\x8d": _text("<Q", "utf-8"),
    b"B": _bytes("<I"),
    b"C": _bytes("<B"),
    b"\x8e": _bytes("<Q"),
    b"\x96": _bytes("<Q"),
    # containers
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b")": lambda m: m.push(()),
    b"\x8f": lambda m: m.push(set()),
    b"l": lambda m: m.push(m.pop_mark()),
    b"t": lambda m: m.push(tuple(m.pop_mark())),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"d": lambda m: m.make_dict(),
    b"a": lambda m: (value := m.pop(), m.top(list).append(value)),
    b"e": lambda m: (items := m.pop_mark(), m.top(list).extend(items)),
    b"s": lambda m: (value := m.pop(), key := m.pop(), m.store([key, value])),
    b"u": lambda m: (items := m.pop_mark(), m.store(items)),
    b"\x90": lambda m: (items := m.pop_mark(), m.add(items)),
    b"\x91": lambda m: m.push({plain_key(item) for item in m.pop_mark()}),
    # names, calls and objects
    b"c": lambda m: m.find(m.line(), m.line()),
    b"\x93": lambda m: m.stack_global(),
    b"R": lambda m: m.reduce(),
    b"\x81": lambda m: m.reduce(),
    b"\x92": lambda m: m.new_object_with_keywords(),
    b"i": lambda m: m.old_instance(),
    b"o": lambda m: m.old_object(),
    b"b": lambda m: m.build(),
    b"Q": lambda m: m.persistent(),
}


def load(
    data: memoryview,
    position: int,
    allowed: Allowed,
    budget: Budget,
    persistent_load: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """The object of the pickle that starts at `position` of `data`, and where the pickle ends.

    Args:
        data: the whole file (or nested stream); byte strings of the result are views into it.
        allowed: (module, name) -> our own function standing in for it, None where it is only mentioned, never called.
        budget: what the pickle may cost; shared between nested pickles.
        persistent_load: what makes an object of a persistent id (PyTorch's storages); None refuses them.

    Raises:
        ConversionError: the pickle is truncated, malformed, too large, or names something outside `allowed`.
    """
    return _Machine(data, position, allowed, budget, persistent_load).run()
