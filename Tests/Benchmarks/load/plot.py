"""The plot of latency against load, as SVG that is written by hand: no library, no script, no font of its own.

Requests arrive at random at a given rate (open loop), so a server that is too slow cannot slow its clients down. The case
ends for a server with the first rate that it does not reach. Must never draw a point that was not measured.
"""
import math
from statistics import median

from cases import load
from servers import has_pidfd_info, is_there

PARTS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
COLOURS = ["#0b62a4", "#d1495b", "#3a7d44", "#8a5fbf", "#c77f1a"]
WIDTH, HEIGHT, LEFT, TOP = 460, 340, 70, 46


def latency(bench):
    place = bench.place("latency", 10)
    servers = [place.daemon(), place.floor("floor", *(["-i"] if has_pidfd_info() else [])), place.tcp()]
    if is_there("s6-fdholder-daemon"):
        servers.append(place.s6())
    panels = {}
    for shape, options in (("connect+get", []), ("open connection", ["-o"])):
        most = load(bench, servers[1], "-s", bench.seconds, "-c", "64", "-K", "10", *options)["rate"]
        points, ended = {}, set()
        print(f"latency against load, {shape}: requests a second, p50 and p99 in us")
        for part in PARTS[::3] if bench.quick else PARTS:
            for server in [server for server in servers if server.name not in ended]:
                runs = [load(bench, server, "-s", bench.seconds, "-c", "256", "-K", "10", "-r", str(int(most * part)),
                             *options) for _ in range(1 if bench.quick else 2)]
                rate, p50, p99 = (median(run[field] for run in runs) for field in ("rate", "p50", "p99"))
                points.setdefault(server.name, []).append((most * part, p50, p99))
                print(f"  {server.name:12}{most * part:9.0f}{p50:10.1f}{p99:10.1f}", flush=True)
                if rate < 0.9 * most * part:
                    ended.add(server.name)
        panels[shape] = points
    place.stop()
    with open(bench.plot, "w") as file:
        file.write(draw(panels))
    print(f"the plot is {bench.plot}\n", flush=True)


def draw(panels):
    """Two panels side by side: rate on a linear axis, latency on a logarithmic one; p50 is drawn through, p99 dashed."""
    text = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(panels) * (WIDTH + 90) + 20} {HEIGHT + 130}" '
            'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']
    for index, (title, points) in enumerate(panels.items()):
        text.append(f'<g transform="translate({index * (WIDTH + 90) + LEFT},{TOP})">')
        text += panel(title, points)
        text.append("</g>")
    return "\n".join(text + ["</svg>", ""])


def unit(power):
    """A power of ten of microseconds, for people."""
    return f"{10 ** power:g} µs" if power < 3 else f"{10 ** (power - 3):g} ms" if power < 6 else f"{10 ** (power - 6):g} s"


def panel(title, points):
    every = [point for line in points.values() for point in line]
    right = max(point[0] for point in every) * 1.05
    low = math.floor(math.log10(min(point[1] for point in every)))
    high = math.ceil(math.log10(max(point[2] for point in every)))

    def x(rate):
        return rate / right * WIDTH

    def y(latency):
        return HEIGHT - (math.log10(latency) - low) / (high - low) * HEIGHT

    lines = [f'<text x="{WIDTH / 2}" y="-20" text-anchor="middle" font-size="15">{title}: latency against load</text>']
    for power in range(low, high + 1):
        lines.append(f'<path d="M0 {y(10 ** power):.1f}H{WIDTH}" stroke="#ddd"/><text x="-8" y="{y(10 ** power) + 4:.1f}" '
                     f'text-anchor="end">{unit(power)}</text>')
    step = 10 ** math.floor(math.log10(right / 2))
    step *= 5 if right / step > 10 else 2 if right / step > 5 else 1
    for number in range(int(right / step) + 1):
        lines.append(f'<path d="M{x(number * step):.1f} {HEIGHT}v5" stroke="black"/><text x="{x(number * step):.1f}" '
                     f'y="{HEIGHT + 20}" text-anchor="middle">{number * step:g}</text>')
    lines.append(f'<path d="M0 0V{HEIGHT}H{WIDTH}" fill="none" stroke="black"/>')
    lines.append(f'<text x="{WIDTH / 2}" y="{HEIGHT + 40}" text-anchor="middle">requests that arrive in a second</text>')
    for index, (name, line) in enumerate(points.items()):
        colour = COLOURS[index % len(COLOURS)]
        for field, dash in ((1, ""), (2, ' stroke-dasharray="5 4"')):
            path = " ".join(f"{x(point[0]):.1f},{y(point[field]):.1f}" for point in line)
            lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
            lines += [f'<circle cx="{x(p[0]):.1f}" cy="{y(p[field]):.1f}" r="2.5" fill="{colour}"/>' for p in line]
        place = index * WIDTH / len(points)
        lines.append(f'<path d="M{place:.0f} {HEIGHT + 60}h24" stroke="{colour}" stroke-width="3"/>'
                     f'<text x="{place + 30:.0f}" y="{HEIGHT + 64}">{name}</text>')
    lines.append(f'<text x="0" y="{HEIGHT + 80}" fill="#555">drawn through: half of the requests are faster (p50); '
                 'dashed: 99 % are (p99)</text>')
    return lines
