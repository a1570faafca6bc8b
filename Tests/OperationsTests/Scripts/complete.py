# complete.py SHELL FILE LINE
#
# Types LINE and Tab into an interactive bash or zsh that has read the completions in FILE, and prints the line that the
# shell made of it. The shell runs in a terminal of its own, and ends with this program.

import os, pty, re, select, sys

shell, file, line = sys.argv[1:]
commands = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
begin = {
    "bash": f"bind 'set enable-bracketed-paste off'; . '{file}'; PS1=; echo rea''dy\n",
    "zsh": f"PS1=; unsetopt zle_bracketed_paste; bindkey -e; fpath=('{os.path.dirname(file)}' $fpath);"
           " autoload -U compinit; compinit -u -D; unset zle_bracketed_paste; echo rea''dy\n",
}

pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "dumb"
    os.execvp(shell, commands[shell])

def wait(pattern):
    text = ""
    while True:
        found = re.search(pattern, text)
        if found: return found
        if not select.select([terminal], [], [], 20)[0]: sys.exit(f"no {pattern}: {text!r}")
        try: text += os.read(terminal, 4096).decode(errors="replace")
        except OSError: sys.exit(f"ended: {text!r}")

os.write(terminal, begin[shell].encode())
wait(r"\nready\r?\n")
# The beginning of the line becomes an echo, so that nothing is run.
os.write(terminal, line.encode() + b"\t")
wait(re.escape(line[-3:]))
os.write(terminal, b"\x01echo '<<'\x05'>>'\n")
print(wait(r"\n<<(.*?) ?>>").group(1).strip())
os.close(terminal)
os.waitpid(pid, 0)
