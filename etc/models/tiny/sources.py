"""The free books that Debian packages hold, as plain documents: (source, title, text).

Each reader knows one package's format and returns paragraphs joined by a blank line; line breaks inside a
paragraph become spaces.
"""
import gzip
import re
import struct
import zlib
from pathlib import Path

CHAPTER_CHARACTERS = 8000


def reflow(text):
    """Paragraphs (blank-line separated) as one line each, with plain quotes and dashes kept as written."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text.replace("\r", "")))
    return [paragraph for paragraph in paragraphs if paragraph]


def documents(source, title, paragraphs):
    """Cuts a long book into documents of about CHAPTER_CHARACTERS at paragraph ends."""
    part, size, number = [], 0, 1
    for paragraph in paragraphs:
        part.append(paragraph)
        size += len(paragraph)
        if size >= CHAPTER_CHARACTERS:
            yield source, f"{title} {number}", "\n\n".join(part)
            part, size, number = [], 0, number + 1
    if part:
        yield source, f"{title} {number}", "\n\n".join(part)


def r_objects(path):
    """The serialised objects of an R lazy-load database: each a length (32 bits, big-endian), zlib data."""
    data = Path(path).read_bytes()
    while data:
        stream = zlib.decompressobj()
        yield stream.decompress(data[4:])
        data = stream.unused_data


def r_strings(data):
    """Every string of one serialised R object: flags 0x..09 (a CHARSXP), a length, the bytes."""
    at = 0
    header = re.compile(rb"\x00[\x00-\x04][\x00-\x02]\x09(....)", re.S)
    while match := header.search(data, at):
        size = struct.unpack(">i", match.group(1))[0]
        at = match.end()
        if 0 <= size <= len(data) - at:
            yield data[at:at + size].decode("utf-8", "replace")
            at += size


def austen(package_root):
    for data in r_objects(package_root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"):
        lines = list(r_strings(data))
        title = lines[0].title()
        yield from documents("austen", title, reflow("\n".join(lines).replace("_", "")))


def melville(package_root):
    data = b"".join(r_objects(package_root / "usr/lib/R/site-library/tokenizers/data/Rdata.rdb"))
    book = data[data.index(b"Call me Ishmael"):data.index(b"End of Project Gutenberg")]
    yield from documents("melville", "Moby Dick", reflow(book.decode("utf-8", "replace").replace("_", "")))


def bible(package_root):
    base = package_root / "usr/share/sword/modules/texts/ztext/engWEB2015eb"
    for testament in ("ot", "nt"):
        index = (base / f"{testament}.bzs").read_bytes()
        blocks = (base / f"{testament}.bzz").read_bytes()
        for number, (offset, size, _) in enumerate(struct.iter_unpack("<III", index[:len(index) // 12 * 12])):
            if size:
                markup = zlib.decompress(blocks[offset:offset + size]).decode("utf-8", "replace")
                title = f"World English Bible {testament} {number}"
                yield from documents("bible", title, reflow(bible_text(markup)))


def bible_text(markup):
    markup = re.sub(r"<note.*?</note>|<title.*?</title>", " ", markup, flags=re.S)
    markup = re.sub(r'<div [sS]ID="[^"]*" type="x-p"/>|<lg |<chapter ', r"\n\n\g<0>", markup)
    text = re.sub(r"<[^>]*>", "", markup)
    text = text.replace("&quot;", '"').replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">")
    text = re.sub(r" +([,.;:?!])", r"\1", text.replace("&amp;", "&"))
    return text.translate(str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--"}))


def dictionary(package_root, name, first_words):
    """A dictd database: its text is all the entries, one after the other."""
    data = gzip.decompress((package_root / f"usr/share/dictd/{name}.dict.dz").read_bytes())
    text = data.decode("utf-8", "replace")
    text = text[text.index(first_words):]
    text = text.translate(str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "{": "", "}": "", "_": ""}))
    return reflow(text)


def jargon(package_root):
    paragraphs = dictionary(package_root, "jargon", "abbrev")
    prose = [paragraph for paragraph in paragraphs if len(paragraph) > 60 and letters(paragraph) > 0.7]
    yield from documents("jargon", "The Jargon File", prose)


def letters(text):
    return sum(character.isalpha() for character in text) / max(1, len(text))


def books(package_root=Path("/")):
    for reader in (austen, melville, bible, jargon):
        yield from reader(package_root)
