# monitor.py FOLDER DASHBOARD RULES WRITE-METRICS [ENVIRONMENT]...
#
# Lets a real Prometheus scrape the file that WRITE-METRICS writes each second, and asks it every query of the dashboard and
# every expression of the rules. Prints a JSON object: each query, and how many series it has, or its error. Ends when every
# query of the dashboard has one, or after 60 seconds.
#
# Must never listen on anything but the loopback address, nor outlive its children.

import http.server, json, os, re, signal, socket, subprocess, sys, threading, time, urllib.parse, urllib.request

folder, dashboard, rules, writer = sys.argv[1:5]
metrics = f"{folder}/keybroker.prom"

def write():
    subprocess.run([writer, metrics], check=True)

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        write()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(open(metrics, "rb").read())
    def log_message(self, *_): pass

page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=page.serve_forever, daemon=True).start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
with open(f"{folder}/prometheus.yml", "w") as config:
    config.write(f"""
global: {{scrape_interval: 3s, evaluation_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
  - job_name: keybroker
    static_configs: [{{targets: ['127.0.0.1:{page.server_port}']}}]
""")
prometheus = subprocess.Popen(
    ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
     f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=open(f"{folder}/prometheus.log", "w"))

def ask(expression):
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=10) as answer:
            return len(json.load(answer)["data"]["result"])
    except urllib.error.HTTPError as error: return error.read().decode()
    except OSError as error: return str(error)

def filled(expression):
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")

board = json.load(open(dashboard))
shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
marked = [annotation["expr"] for annotation in board["annotations"]["list"]]
try:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if all(isinstance(ask(filled(e)), int) and ask(filled(e)) > 0 for e in shown): break
        if prometheus.poll() is not None: break
        time.sleep(0.3)
    result = {e: ask(filled(e)) for e in shown + marked}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=10) as answer:
        loaded = json.load(answer)["data"]["groups"]
    rule = {r["name"]: [r["health"], r["state"]] for group in loaded for r in group["rules"]}
    print(json.dumps({"shown": shown, "queries": result, "rules": rule}))
finally:
    prometheus.send_signal(signal.SIGTERM)
    prometheus.wait()
    page.shutdown()
