"""What an index decides tomorrow is told from what a checksum, a lock file or a signed version decides today."""

from __future__ import annotations

import pytest

from interlock.ci.operations import read
from interlock.lint.installs import built_images, loose_install, runs_what_it_fetches
from interlock.source.tree import span_of

DIGEST = f"sha256:{'a' * 64}"
LOOSE = """\
pip install interlock
pip install -e . requests
python3.13 -I -m pip install --quiet interlock==1.0
sudo -E pip install x
uv pip install interlock
uv --quiet pip install --system interlock==1.2
uv pip install -r requirements.txt
uv pip sync requirements.txt
uv tool install ruff
uv run --with ruff ruff check
uv sync
uvx ruff
pipx install interlock
pipx run interlock
python -m pipx install interlock
poetry add interlock
poetry self add plugin
pipenv install x
conda install -n base -c conda-forge jq
apk add --no-cache python3 py3-pip git
apk add -X https://example.com/alpine --allow-untrusted x=1.0-r0
apk add -t deps 'x>1'
apt-get update && apt-get install -y jq
sudo apt-get install --allow-unauthenticated jq=1.6-2
dnf -y install jq
pacman -Sy --noconfirm jq
npm install -g cdktf-cli@0.20
npm install
npm i left-pad
npx cdktf-cli@latest synth
npm exec -- cdktf-cli synth
yarn dlx cdktf-cli
pnpm dlx cdktf-cli
bunx cdktf-cli
gem install terraspace
cargo install tf-summarize
cargo install tf-summarize --version 1.2.3
go install github.com/x/y/cmd/z@latest
go run github.com/x/y@main
brew install tfenv
brew install --cask x
choco install terraform --version 1.2.3 -y
winget install Hashicorp.Terraform
Install-Module -Force Az
docker run --rm -v "$PWD:/src" -it -w /src alpine:3 ls
docker run --rm --env-file .env -eA=1 ghcr.io/x/y:latest
podman pull alpine
docker run hashicorp/terraform:1.11 plan
sudo docker run alpine
gh extension install x/y
"""
PINNED = f"""\
pip install --require-hashes -r requirements.txt
PIP_REQUIRE_HASHES=1 pip install -r requirements.txt
pip install --no-index --find-links wheels x
pip install --index-url https://example.com -e .
pip install https://example.com/x.whl#sha256={"a" * 64}
pip --version
python -m venv .venv
uv pip install --require-hashes -r requirements.txt
uv pip compile --generate-hashes x.in
uv sync --locked
uv run terraform plan
uv --version
pipx --version
poetry install
poetry run pytest
apk add ./x.apk
apk add --no-cache python3=3.12.9-r0
apk update
apt-get install -y jq=1.6-2.1 ./x.deb
apt-get update
dnf install -y jq-1.6-17.el9
npm ci
npm run build
npm test
npx --no-install tsc
yarn install --immutable
bundle install
cargo build
cargo install tf-summarize --version 1.2.3 --locked
go install github.com/x/y/cmd/z@v1.2.3
go install ./...
go test ./...
brew --version
docker run --rm -v "$PWD:/src" alpine:3@{DIGEST} ls x:1
docker run "$IMAGE" ls
docker build -t mine . && docker run mine
docker login -u x registry.example.com
docker compose up
"""
RUN = """\
curl -sSf https://example.com/install.sh | sh
curl -fsSL https://example.com/x | sudo -E bash -
wget -qO- https://example.com/x | bash -s -- --yes
curl https://example.com/x | gunzip | sh
curl https://example.com/x | tee log | bash
curl https://example.com/x.py | python3 -
curl https://example.com/x.py | python3
sh -c "$(curl -fsSL https://example.com/x)"
bash <(curl -s https://example.com/x)
source <(curl -s https://example.com/x)
eval "$(curl -s https://example.com/x)"
$(curl -s https://example.com/x)
iwr https://example.com/x.ps1 | iex
iex ((New-Object System.Net.WebClient).DownloadString('https://example.com/x.ps1'))
"""
LOOKED_AT = """\
curl -sSf -o x https://example.com/x
curl -s https://example.com/x | jq -r .y
curl -s https://example.com/x | python3 -c 'import json'
curl -s https://example.com/x | python3 parse.py
curl -s https://example.com/x | tar xz
curl -s https://example.com/x | bash parse.sh
VERSION=$(curl -s https://example.com/x)
echo "$(curl -s https://example.com/x)"
curl -o x https://example.com/x && echo "0 x" | sha256sum --check && sh x
"""


def judged(text: str) -> list[str]:
    programs = read(text, lambda start, end: span_of("x", text.encode(), start, end)).programs
    built = built_images(programs)
    found = [loose_install(each, dict(each.command.assignments), built) for each in programs]
    running = runs_what_it_fetches(programs, text)
    return [*(each for each in found if each), *(["runs"] if running else [])]


@pytest.mark.parametrize("command", LOOSE.splitlines())
def test_an_install_that_an_index_decides_is_found(command: str) -> None:
    (what,) = judged(command)
    assert what != "runs"


@pytest.mark.parametrize("command", RUN.splitlines())
def test_a_download_that_runs_at_once_is_found(command: str) -> None:
    assert judged(command) == ["runs"]


@pytest.mark.parametrize("command", [*PINNED.splitlines(), *LOOKED_AT.splitlines()])
def test_what_is_pinned_or_only_looked_at_is_no_finding(command: str) -> None:
    assert judged(command) == []
