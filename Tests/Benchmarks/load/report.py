"""What was measured: results of rounds, their medians and ratios, the table, and what must hold.

A ratio is taken within each round, between runs that are seconds apart, and then the median of the rounds: the machine
may be faster in another round. Must never print a ratio of two runs of different rounds.
"""
from statistics import median


class Results:
    def __init__(self):
        self.rounds = {}
        self.verdicts = []
        self.notes = []

    def add(self, case, server, values):
        self.rounds.setdefault(case, {}).setdefault(server, []).append(values)

    def median(self, case, server, field):
        rounds = self.rounds.get(case, {}).get(server)
        return median(values[field] for values in rounds) if rounds else None

    def ratio(self, case, one, other, field):
        """How many times the other's value the one's is, or None if one was not measured."""
        servers = self.rounds.get(case, {})
        if one not in servers or other not in servers:
            return None
        pairs = [(a[field], b[field]) for a, b in zip(servers[one], servers[other])]
        return median(a / b for a, b in pairs) if all(b for _, b in pairs) else None

    def must(self, text, value, most=None, least=None, unit=""):
        """Something that must hold. A value that could not be measured is said, and is no success."""
        bound = f"<= {most:g}{unit}" if most is not None else f">= {least:g}{unit}"
        met = value is not None and (value <= most if most is not None else value >= least)
        shown = "not measured" if value is None else f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"
        self.verdicts.append((met, f"{text}: {shown}, must be {bound}"))

    def must_all(self, text, parts):
        """Several bounds on one thing: (what, value, the most that it may be)."""
        shown = ", ".join(f"{what} {value:.3g} (<= {most:g})" for what, value, most in parts)
        self.verdicts.append((all(value <= most for _, value, most in parts), f"{text}: {shown}"))

    def note(self, text):
        self.notes.append(text)

    def table(self, case, subject="keybroker"):
        """The lines of a case; the last columns compare the daemon with each other server."""
        servers = self.rounds[case]
        subjects = [name for name in servers if name.startswith(subject)]
        one = subjects[0] if subjects else None
        lines = [f"{case}", f"  {'':22}{'rate/s':>9} {'p50 us':>9} {'p99 us':>9} {'CPU us':>8} {'both CPU':>9}   daemon / this one"]
        for name in servers:
            line = (
                f"  {name:22}{self.median(case, name, 'rate'):9.0f} {self.median(case, name, 'p50'):9.1f} "
                f"{self.median(case, name, 'p99'):9.1f} {self.median(case, name, 'cpu'):8.2f} "
                f"{self.median(case, name, 'both_cpu'):9.2f}")
            if one and name != one:
                rate, p50, cpu = (self.ratio(case, one, name, field) for field in ("rate", "p50", "cpu"))
                line += f"   rate x {rate:.2f}, p50 x {p50:.2f}" + (f", CPU x {cpu:.2f}" if cpu else "")
            busy = self.median(case, name, "busy")
            lines.append(line + (f"   ({busy:.0f} were told to ask again)" if busy else ""))
        return "\n".join(lines)

    def summary(self):
        lines = list(self.notes) + [""] if self.notes else []
        lines += [("met      " if met else "NOT met  ") + text for met, text in self.verdicts]
        return "\n".join(lines)

    def all_met(self):
        return all(met for met, _ in self.verdicts)
