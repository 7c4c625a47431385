#!/usr/bin/env python3
"""Draws docs/envelope.svg: what is in a message, and which key protects which part.

    docs/drawings/envelope.py > docs/envelope.svg
"""

INK, RED, PAPER, SHADE = "#2b2b2b", "#8c2f2b", "#fbf7ef", "#efe6d6"
parts = []


def box(x, y, width, height, fill=PAPER, stroke=INK, dash=""):
    parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{fill}" stroke="{stroke}"'
                 f'{f" stroke-dasharray={chr(34)}{dash}{chr(34)}" if dash else ""}/>')


def text(x, y, words, kind="", anchor="start"):
    parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{words}</text>')


def arrow(points, colour=RED):
    path = "M" + " L".join(f"{x},{y}" for x, y in points)
    parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" marker-end="url(#tip)"/>')


# The keys, above.
box(30, 60, 190, 62, SHADE, RED)
text(125, 86, "wrapping key", "name", "middle")
text(125, 106, "stays with its keyring", "small", "middle")
box(300, 60, 190, 62, SHADE, RED)
text(395, 86, "data key", "name", "middle")
text(395, 106, "random, for one message", "small", "middle")
box(570, 60, 210, 62, SHADE, RED)
text(675, 86, "message key, commit key", "name", "middle")
text(675, 106, "HKDF-SHA-512, salt: message id", "small", "middle")
box(810, 60, 160, 62, SHADE, RED)
text(890, 86, "signing key", "name", "middle")
text(890, 106, "P-384, for one message", "small", "middle")
arrow([(490, 91), (568, 91)])

# The message, below.
box(20, 190, 960, 200, "#fff")
text(60, 214, "one message", "name")
box(60, 228, 416, 146)
text(72, 250, "header, readable by all, authenticated", "name")
for row, words in enumerate(["version, algorithm suite, message id", "encryption context: your pairs, the public key",
                             "encrypted data keys, one for each wrapping key", "frame length, commit key", "tag"]):
    text(84, 272 + row * 20, words)
for index, name in enumerate(["frame 1", "frame 2", "final frame"]):
    x = 492 + index * 112
    box(x, 228, 102, 146, SHADE)
    text(x + 51, 250, name, "name", "middle")
    text(x + 51, 282, "number, IV", "", "middle")
    text(x + 51, 306, "ciphertext", "", "middle")
    text(x + 51, 330, "tag", "", "middle")
box(832, 228, 132, 146)
text(898, 250, "footer", "name", "middle")
text(898, 282, "signature over", "", "middle")
text(898, 302, "all that is", "", "middle")
text(898, 322, "to its left", "", "middle")

# Which key does what.
arrow([(44, 122), (44, 308), (80, 308)])
text(52, 150, "wraps the data key", "small")
arrow([(640, 122), (640, 226)])
text(648, 166, "seals header and frames (AES-256-GCM)", "small")
arrow([(940, 122), (940, 226)])
text(932, 146, "signs", "small", "end")

print(f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 420" font-family="sans-serif" font-size="13" fill="{INK}">
<style>.name{{font-weight:bold}}.small{{font-size:12px;fill:{RED}}}.title{{font-size:17px;font-weight:bold}}</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{RED}"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>
<text x="20" y="36" class="title">An envelope: the default suite 0x0578</text>
{chr(10).join(parts)}
</svg>''')
