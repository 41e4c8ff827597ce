"""wrapper.py FOLDER MODULE@VERSION PACKAGE...: writes an empty module that can build these packages of another.

`go install PACKAGE@VERSION` refuses a module whose go.mod replaces others. This one repeats the replacements and exclusions.
"""
import json, os, shutil, subprocess, sys


def go(*args, cwd="/"):
    done = subprocess.run(("go", *args), cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"go {' '.join(args)}: {done.stderr or done.stdout}")
    return done.stdout


def replacement(old, new):
    left = " ".join(filter(None, (old["Path"], old.get("Version"))))
    if "Version" in new:
        return f"replace {left} => {new['Path']} {new['Version']}"
    # a folder of Kubernetes' own repository: each is a module too, v0.X.Y where Kubernetes is v1.X.Y
    if old["Path"].startswith("k8s.io/"):
        return f"replace {left} => {old['Path']} {version.replace('v1', 'v0', 1)}"
    # any other folder is a module that is required at its own version
    return ""


folder, target, *packages = sys.argv[1:]
module, version = target.split("@")
upstream = json.loads(go("mod", "edit", "-json", json.loads(go("mod", "download", "-json", target))["GoMod"]))
lines = ["module wrapper", f"go {upstream['Go']}", f"require {module} {version}"]
lines += [replacement(each["Old"], each["New"]) for each in upstream.get("Replace") or []]
lines += [f"exclude {each['Path']} {each['Version']}" for each in upstream.get("Exclude") or []]

making = folder + ".making"
shutil.rmtree(making, ignore_errors=True)
os.makedirs(making)
with open(f"{making}/go.mod", "w") as file:
    file.write("\n".join(lines) + "\n")
with open(f"{making}/tools.go", "w") as file:
    file.write("//go:build tools\n\npackage tools\n\nimport (\n" + "".join(f'\t_ "{each}"\n' for each in packages) + ")\n")
# with the version: `go get PACKAGE` alone would upgrade the module to its newest
go("get", *[f"{each}@{version}" for each in packages], cwd=making)
shutil.rmtree(folder, ignore_errors=True)
os.rename(making, folder)
