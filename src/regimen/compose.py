"""From overrides to one checked configuration: Hydra composes, the types and the named functions judge."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.default_element import ResultDefault
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from regimen import arguments, peek, typed
from regimen.catalogue import GROUPS, MULTI_GROUPS
from regimen.diagnose import Checker, Problem
from regimen.errors import ConfigError, did_you_mean
from regimen.provenance import SCHEMA, Source, Tree, shown
from regimen.schema import Config
from regimen.typed import NODES, load_config

__all__ = ["Composed", "compose", "load_config"]


LAUNCHERS = {
    "sweep": "continues a sweep: write it alone on the command line, `python launch.py sweep=<directory>`.",
    "pipeline": "runs a pipeline: write it on the command line, `python launch.py pipeline=<name>`.",
    "resume": "continues a run: write it alone on the command line, `python launch.py resume=<run reference>`.",
    "choices": "is filled in by the launcher: choose options by their group, such as task=<name>.",
}
"""Keys of the whole configuration that nothing else may set."""


@dataclass
class Composed:
    """A configuration that passed every check.

    Attributes:
        config: resolved plain data in the shape of `schema.Config`, defaults included.
        choices: group -> option.
        files: group -> YAML file of the option.
        tree: each value with what set it.
        hydra: Hydra's own view, with its `hydra` node.
        overrides: the arguments, as typed.
        types: key -> dataclass of `env`, `sim`, `agent` and `stage`.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    files: dict[str, Path]
    tree: Tree
    hydra: DictConfig
    overrides: list[str]
    types: dict[str, Any] = field(default_factory=dict)


def compose(overrides: list[str], config_dirs: list[Path], config_name: str = "config") -> Composed:
    """Compose one run and check it.

    Args:
        overrides: `key=value` arguments, without sweeps.
        config_dirs: folder of config.yaml, then the user's own.
        config_name: primary config.

    Raises:
        ConfigError: listing everything that is wrong, each with the file or argument it stands in.
    """
    version.setbase("1.3")
    setup_globals()
    loader = arguments.make_loader(config_dirs)
    parsed, wrong = arguments.parse(overrides, loader)
    wrong += arguments.check_choices(parsed, loader, multirun=False)
    refuse(wrong)
    return _Composition(loader, config_dirs, config_name, parsed).run()


class Refusal(ConfigError):
    """Everything that is wrong with a configuration.

    Attributes:
        lines: one for each problem.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        numbered = "\n".join(f"  {i}. {line}" for i, line in enumerate(lines, 1))
        super().__init__(lines[0] if len(lines) == 1 else f"{len(lines)} problems, nothing was started:\n{numbered}")


def refuse(lines: list[str]) -> None:
    """Raise one `Refusal` for all lines, each said once, if there are any."""
    if lines:
        raise Refusal(list(dict.fromkeys(lines)))


class _Composition:
    """The steps of one composition, from parsed overrides to checked data."""

    def __init__(self, loader: ConfigLoaderImpl, dirs: list[Path], name: str, parsed: list[Override]) -> None:
        self.loader, self.dirs, self.name, self.parsed = loader, dirs, name, parsed
        self.files: dict[str, Path] = {}
        self.tree = Tree()
        self.types: dict[str, Any] = {}

    def run(self) -> Composed:
        texts = [o.input_line or "" for o in self.parsed]
        self._require_experiment_header()
        listed = self._translate(lambda: self.loader.compute_defaults_list(self.name, texts, RunMode.RUN))
        choices = {g: listed.overrides.known_choices.get(g) for g in GROUPS}
        refuse([line for d in listed.defaults for line in self._unknown_group(d)])
        self._lay_files(listed.defaults)
        self._lay_arguments(listed.config_overrides)
        self._refuse(self._check(self.tree.data))
        hydra = self._translate(lambda: self._hydra_view(texts))
        plain = self._translate(lambda: _resolved(hydra))
        OmegaConf.set_readonly(hydra.hydra, False)  # launchers write the job's number
        if "${" in str(self.tree.data):
            self._refuse(self._check(plain))
        config = self._freeze(plain) | {"choices": choices}
        return Composed(config, choices, self.files, self.tree, hydra, texts, self.types)

    def _hydra_view(self, texts: list[str]) -> DictConfig:
        """Return Hydra's configuration: its own node, and the checked tree in place of what it would compose.

        Hydra itself would refuse an argument whose key is in no file, even where a type or a signature has it.
        """
        groups = (*GROUPS, *MULTI_GROUPS)
        chosen = [o.input_line or "" for o in self.parsed if o.key_or_group in groups or o.is_hydra_override()]
        composed = self.loader.load_configuration(self.name, chosen, RunMode.RUN)
        hydra = OmegaConf.create({"hydra": composed.hydra, **self.tree.data})
        hydra.hydra.overrides.task = [t for t in texts if not t.startswith("hydra")]
        HydraConfig.instance().set_config(hydra)
        return hydra

    def _lay_files(self, defaults: list[ResultDefault]) -> None:
        """Fill the tree: defaults of the types, then the files in Hydra's order."""
        layers = list(self._layers(defaults))
        self.tree.merge(typed.defaults(Config), SCHEMA)
        targets = dict(typed.DEFAULT_TARGETS)
        for data, _ in layers:
            for node in NODES.values():
                value = data.get(node)
                targets |= {node: str(value["_target_"])} if isinstance(value, dict) and "_target_" in value else {}
        for group, node in NODES.items():
            if node not in targets:
                raise Refusal([f"{shown(self.files[group])} names no class: it needs `_target_: pkg.mod.Class`."])
            try:
                self.types[node] = peek.load_cfg_class(targets[node])
            except ConfigError as error:
                raise Refusal([f"{shown(self.files[group])}: `_target_: {targets[node]}`: {error}"]) from error
            self.tree.merge({node: typed.defaults(self.types[node])}, SCHEMA)
        self.types["logger"] = self._multi_type("logger", [d for data, _ in layers for d in [data.get("logger")] if d])
        self.tree.merge({"logger": typed.defaults(self.types["logger"])}, SCHEMA)
        for data, source in layers:
            self.tree.merge(data, source)

    def _multi_type(self, node: str, chosen: list[dict[str, Any]]) -> Any:
        """Return the dataclass of a group with any number of options: one field for each chosen one."""
        targets = {name: str(c["_target_"]) for data in chosen for name, c in data.items() if "_target_" in (c or {})}
        fields = []
        for name, target in targets.items():
            try:
                kind = peek.load_cfg_class(target)
            except ConfigError as error:
                raise Refusal([f"{node} `{name}`: `_target_: {target}`: {error}"]) from error
            fields.append((name, kind, field(default_factory=kind)))
        return make_dataclass(f"{node.capitalize()}sCfg", fields, namespace={"problems": _problems_of_all})

    def _layers(self, defaults: list[ResultDefault]) -> Iterator[tuple[dict[str, Any], Source]]:
        for default in defaults:
            path = default.config_path or ""
            if path.split("/")[0] in ("hydra", ""):
                continue
            loaded = self._translate(lambda p=path: self.loader.repository.load_config(p))
            data = OmegaConf.to_container(loaded.config, resolve=False)
            file, *hidden = [d / f"{path}.yaml" for d in self.dirs if (d / f"{path}.yaml").is_file()]
            refuse([f"{shown(h)}: hidden by {shown(file)}, which has the same name. Rename yours." for h in hidden])
            group = path.rpartition("/")[0]
            if group and (default.override_key or default.is_self):
                self.files[group] = file
            _require_package(default, group, file)
            source = Source("experiment" if group == "experiment" else "base", shown(file), file, default.package or "")
            yield _placed(data, source.package), source

    def _lay_arguments(self, overrides: list[Override]) -> None:
        """Lay the arguments over the files."""
        wrong = []
        for override in overrides:
            text, key = override.input_line or "", override.key_or_group
            if override.is_hydra_override():
                continue
            if override.is_delete():
                if not self.tree.remove(key):
                    wrong.append(f"argument `{text}`: there is no `{key}` to remove. {self._near(key)}")
                continue
            self.tree.assign(tuple(key.split(".")), override.value(), Source("argument", text))
            if not self.tree.has(key):
                wrong.append(f"argument `{text}`: the list has no such element; replace it whole: `<list>=[...]`.")
        refuse(wrong)

    def _check(self, data: dict[str, Any]) -> Iterator[Problem]:
        hints = {**typing.get_type_hints(Config), **self.types}
        checker = Checker(self.tree.was_set)
        for key, value in data.items():
            if key in LAUNCHERS and value:
                first = next(iter(value)) if isinstance(value, dict) else ""
                yield Problem(f"{key}.{first}".rstrip("."), f"`{key}` {LAUNCHERS[key]}")
            elif key not in hints:
                names = [*GROUPS, *(k for k in hints if k not in LAUNCHERS)]
                yield Problem(key, f"There is no key `{key}`. {did_you_mean(key, names)}")
            else:
                yield from checker.check(hints[key], value, key)

    def _refuse(self, problems: Iterator[Problem]) -> None:
        refuse([f"{self._where(p.path)}: {p.message}" for p in problems])

    def _where(self, path: str) -> str:
        """Return the argument or file a path was set in; the option's file for what nothing sets."""
        source = self.tree.who(path)
        group = next((g for g, node in NODES.items() if node == path.split(".")[0]), None)
        return shown(self.files[group]) if source is SCHEMA and group in self.files else source.at(path)

    def _near(self, key: str) -> str:
        above, _, last = key.rpartition(".")
        node = self.tree.get(above) if above else self.tree.data
        return did_you_mean(last, node) if isinstance(node, dict) else ""

    def _freeze(self, plain: dict[str, Any]) -> dict[str, Any]:
        config = typed.plain(typed.build(Config, plain))
        return config | {n: typed.plain(typed.build(kind, plain[n])) for n, kind in self.types.items()}

    def _require_experiment_header(self) -> None:
        """An experiment without its header line would compose into a key `experiment` of its own."""
        for name in [str(o.value()) for o in self.parsed if o.key_or_group == "experiment"]:
            for file in (d / "experiment" / f"{name}.yaml" for d in self.dirs):
                if file.is_file() and "_global_" not in file.read_text(encoding="utf-8").lstrip().split("\n")[0]:
                    raise Refusal([f"{shown(file)}: the first line must be `# @package _global_`."])

    def _unknown_group(self, default: ResultDefault) -> Iterator[str]:
        """A group that no key of the configuration belongs to would be merged in unseen."""
        group = (default.config_path or "").rpartition("/")[0].split("/")[0]
        if group and group not in (*GROUPS, *MULTI_GROUPS, "hydra"):
            yield f"{default.parent}.yaml: there is no group `{group}`. {did_you_mean(group, GROUPS)}"

    def _translate(self, call: Any) -> Any:
        """Call Hydra, and say its errors without its advice and internals."""
        try:
            return call()
        except MissingConfigException as error:
            raise Refusal([self._missing(error)]) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{shown(Path(mark.name))}:{mark.line + 1}" if mark else "a YAML file"
            raise Refusal([f"{where}: not valid YAML: {error.problem}."]) from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            key = getattr(error, "full_key", None)
            said = _clean(error)
            guilty = next((o.input_line for o in self.parsed if o.key_or_group in said), None)
            where = f"argument `{guilty}`: " if guilty else ""
            where = f"{self._where(key)}: `{key}`: " if key and self.tree.has(key) else where
            raise Refusal([where + said]) from error

    def _missing(self, error: MissingConfigException) -> str:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        for folder in self.dirs:
            for file in sorted(folder.glob("*/*.yaml")):
                if re.search(rf"^\s*-\s*(override\s+)?/?({group}(@\w+)?:\s*)?{name}\s*$", file.read_text(), re.M):
                    hint = did_you_mean(name, arguments.options(self.loader, group))
                    return f"{shown(file)}: there is no {group} `{name}`. {hint}"
        return f"There is no {group or 'config'} `{name}`. {did_you_mean(name, arguments.options(self.loader, group))}"


def _problems_of_all(loggers: Any, config: dict[str, Any]) -> list[str]:
    """Return the problems of each part of a multi-choice group, named by the part."""
    parts = {f.name: getattr(loggers, f.name) for f in fields(loggers)}
    return [f"{n}.{line}" for n, part in parts.items() if hasattr(part, "problems") for line in part.problems(config)]


def _placed(data: Any, package: str) -> dict[str, Any]:
    """Return a file's content at its place in the whole configuration."""
    placed = {k: v for k, v in data.items() if k != "hydra"} if isinstance(data, dict) else {}
    for key in reversed(package.split(".") if package else []):
        placed = {key: placed}
    return placed


def _require_package(default: ResultDefault, group: str, file: Path) -> None:
    """Refuse a file whose content would land at the wrong key for want of its header line."""
    expected = {"task": "env", "experiment": "", "logger": f"logger.{file.stem}"}.get(group, group)
    if group in (*GROUPS, *MULTI_GROUPS) and (default.package or "") != expected:
        raise Refusal([f"{shown(file)}: the first line must be `# @package {expected or '_global_'}`."])


def _resolved(hydra: DictConfig) -> dict[str, Any]:
    data = OmegaConf.masked_copy(hydra, [str(k) for k in hydra if k != "hydra"])
    return typing.cast(dict[str, Any], OmegaConf.to_container(data, resolve=True))


def _clean(error: Exception) -> str:
    """Return the first sentences of Hydra's message, without links, `+` advice and internals."""
    causes = [str(e) for e in (error, error.__cause__) if e is not None and str(e)]
    lines = [line.strip() for text in causes for line in text.splitlines()]
    hidden = ("http", "To append", "full_key:", "object_type", "reference_type", "Set the environment")
    return " ".join(line for line in lines if line and not any(h in line for h in hidden))
