"""Likely mistakes in Python and on the command line: each gets a sentence that says what to do, and changes nothing."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.cli import main
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import TRANSFORM, VOCAB, make_model

NO_SCAN = "is not the folder of a finished scan: it has no scan.json; cleaner.scan or cleaner.check makes one"
NO_SCAN_IN_WORDS = NO_SCAN.replace("cleaner.scan or cleaner.check", "`cleaner scan` or `cleaner check`")

# What people write in Python, and the sentence that they get; `…` stands for any text.
CALLS = [
    (
        "cleaner.Review(learn)",
        "expected a scan or the path of a scan folder, got Learner; scan it first: scan = "
        "cleaner.scan(learn, out='scan')",
    ),
    (
        "cleaner.Review(dls)",
        "expected a scan or the path of a scan folder, got DataLoaders; pass the learner that was "
        "trained on them: scan = cleaner.scan(learn, out='scan')",
    ),
    ('cleaner.Review("images")', f"'images' {NO_SCAN}"),
    (
        'cleaner.Review("scan/decisions.csv")',
        "'scan/decisions.csv' is not the folder of a finished scan; pass the folder itself: 'scan'",
    ),
    (
        'cleaner.Review(scan, root="nowhere")',
        "there is no folder '…/nowhere' with the images; say where they are now: pass root=DIR",
    ),
    (
        'cleaner.Review(scan, root="elsewhere")',
        "none of the images of the scan is in '…/elsewhere', such as …; pass the folder that this path begins in",
    ),
    ("cleaner.Review(scan, page_size=0)", "page_size is 0; expected a whole number from 1 to 200"),
    (
        'cleaner.Review(scan, reviewer="=anna")',
        "the reviewer's name is '=anna'; expected a text of 1 to 80 characters that does not begin with "
        "'=', '+', '-' or '@'",
    ),
    ("cleaner.Review(df)", "expected a scan or the path of a scan folder, got DataFrame; pass the scan that it is of"),
    (
        "cleaner.undo(scan)",
        "'scan' is not a journal of an apply; no apply left a journal in 'scan', so there is nothing to undo",
    ),
    ("cleaner.undo(dry)", "the report has no journal, as a dry run changes nothing, so there is nothing to undo"),
    (
        'cleaner.undo("scan")',
        "'scan' is not a journal of an apply; no apply left a journal in 'scan', so there is nothing to undo",
    ),
    (
        'cleaner.undo("scan/decisions.csv")',
        "'scan/decisions.csv' is not a journal of an apply; no apply left a journal in 'scan', so "
        "there is nothing to undo",
    ),
    (
        "cleaner.undo(learn)",
        "expected the report of an apply or the path of its journal, got Learner; pass what cleaner.apply returned",
    ),
    (
        'cleaner.scan_table(learn, "images", df, "new")',
        "expected the path of a label table as labels, got DataFrame; write it: df.to_csv('labels.csv', index=False)",
    ),
    (
        'cleaner.scan_table(learn, "images", "planet.csv", "new")',
        "'planet.csv' has the columns ['picture', 'kind']; none has a usual name for paths (fname, file, "
        "…). Name the column: path_column=NAME",
    ),
    (
        'cleaner.scan_table(learn, "images", "labels.csv", "new", label_column="kind")',
        "'labels.csv' has no column 'kind'; its columns are ['fname', 'label']",
    ),
    (
        'cleaner.scan_table(learn, "images", "labels.xlsx", "new")',
        "there is no label table 'labels.xlsx'; a .csv, .tsv or .parquet file is accepted",
    ),
    (
        'cleaner.scan_table(learn, "elsewhere", "labels.csv", "new")',
        "none of the files that 'labels.csv' names exists, such as '…/elsewhere/bear/bear_0.png'. Paths "
        "are relative to the dataset's folder or to that of the table; pass the folder that the paths "
        "begin in",
    ),
    (
        'cleaner.scan_table("export.pkl", "images", "labels.csv", "new")',
        "expected a fastai Learner, got 'export.pkl'; load the learner first: learn = load_learner(file)",
    ),
    (
        'cleaner.scan_folder(learn, "x", "images")',
        "there is no folder 'x', and 'images' holds images; data comes before out: "
        "cleaner.scan_folder(learn, data, out)",
    ),
    (
        'cleaner.scan_folder("images", learn, "out")',
        "expected the learner first, got 'images'; the order is learn, data, …, out",
    ),
    (
        'cleaner.scan_folder(learn, learn, "out")',
        "expected the learner first, got Learner; the order is learn, data, …, out",
    ),
    (
        'cleaner.scan_folder(learn, "elsewhere", "new")',
        "there is no image in 'elsewhere'; pass the folder that holds the images",
    ),
    (
        'cleaner.scan_folder(learn, "nowhere", "new")',
        "'nowhere' is not a folder; pass the folder that holds the images",
    ),
    (
        'cleaner.scan_folder(learn, dls, "new")',
        "expected the path of the dataset's folder as data, got DataLoaders; pass the folder that holds the images",
    ),
    (
        'cleaner.scan_folder(learn, "images/cat", "new")',
        "all images in 'images/cat' have the label 'cat'. Pass the folder of the whole dataset, with at "
        "least two classes",
    ),
    (
        'cleaner.scan_folder(learn, "images", "images")',
        "'images' is not a scan folder: it holds ['bear', 'cat', 'dog']; give a new or empty folder",
    ),
    (
        'cleaner.scan_folder(learn, "images", "new", views=0)',
        "views is 0; pass a whole number from 1, the image alone, to 9",
    ),
    (
        'cleaner.scan(dls, "new")',
        "expected a fastai Learner, got DataLoaders; pass the object that `vision_learner` returned",
    ),
    (
        'cleaner.scan("export.pkl", "new")',
        "expected a fastai Learner, got 'export.pkl'; load the learner first: learn = load_learner(file)",
    ),
    (
        'cleaner.scan(model, "new")',
        "expected a fastai Learner, got Sequential; scan a torch model with cleaner.scan_model(model, dataset, out)",
    ),
    ('cleaner.scan("new", learn)', "expected the model first, got 'new'; the order is cleaner.scan(learn, out)"),
    ("cleaner.scan(learn, learn)", "expected the path of a scan folder as out, got Learner; pass its path"),
    ('cleaner.scan(learn, "new", k=0)', "k is 0; pass a whole number of at least 1, or 'auto'"),
    ('cleaner.scan(learn, "new", k="all")', "k is 'all'; pass a whole number of at least 1, or 'auto'"),
    (
        'cleaner.scan(learn, "new", splits="train")',
        "splits is 'train'; pass a sequence of different names such as ('train', 'valid')",
    ),
    (
        'cleaner.scan(learn, "new", splits=("train", "test"))',
        "there is no split 'test'; a learner has ['train', 'valid']",
    ),
    ('cleaner.scan(learn, "new", batch_size=0)', "batch_size is 0; pass a whole number of at least 1"),
    ('cleaner.scan(learn, "new", views=100)', "views is 100; pass a whole number from 1, the image alone, to 9"),
    ('cleaner.scan(learn, "new", engine="dask")', "engine is 'dask'; pass 'local', 'ray' or a cleaner.Cluster"),
    (
        'cleaner.scan(learn, "new", fast=True, features=True)',
        "a fast scan runs variants of the model that show no features; leave out fast=True or features=True",
    ),
    ('cleaner.scan(learn, "labels.csv")', "'labels.csv' is a file; the scan needs a folder of its own"),
    (
        'cleaner.scan(learn, "new", decisions_from="elsewhere")',
        f"'elsewhere' {NO_SCAN}",
    ),
    (
        'cleaner.scan_model(learn, dataset, "new")',
        "expected a torch.nn.Module as model, got Learner; scan a Learner with cleaner.scan(learn, out)",
    ),
    (
        'cleaner.scan_model(model, "images", "new")',
        "expected a map-style dataset of (image, label), or one per split, as dataset, got 'images'; the "
        "order is cleaner.scan_model(model, dataset, out)",
    ),
    (
        'cleaner.scan_model(model, dataset, "new", vocab=["cat", "dog"])',
        "'cat' is class 1 of the dataset and class 0 of the vocabulary; give the dataset a "
        "target_transform that converts its index",
    ),
    (
        'cleaner.scan_model(model, dataset, "new", loss_fn="cross_entropy")',
        "loss_fn is 'cross_entropy'; pass a function of logits and targets, such as torch.nn.CrossEntropyLoss()",
    ),
    (
        'cleaner.scan_model(dataset, model, "new")',
        "expected a map-style dataset of (image, label), or one per split, as dataset, got Sequential; "
        "the order is cleaner.scan_model(model, dataset, out)",
    ),
    (
        'cleaner.scan_arrays(labels, pred_probs, paths[:-1], vocab, out="new", root="images")',
        "there are 21 labels, 21 rows of pred_probs, 20 paths; pass the same number of each",
    ),
    (
        'cleaner.scan_arrays(pred_probs, labels, paths, vocab, out="new", root="images")',
        "labels has the shape (21, 3); pass an array with 1 dimensions",
    ),
    (
        'cleaner.scan_arrays(labels, pred_probs, paths, ["a", "b", "c"], out="new", root="images")',
        "vocab is 'a', 'b', 'c', without the labels 'bear', 'cat', 'dog'; pass all labels",
    ),
    (
        'cleaner.scan_arrays(labels, pred_probs, paths, vocab, out="new", root="images", ranked_by="entropy")',
        "ranked_by is 'entropy'; pass 'loss' or 'margin'",
    ),
    (
        'cleaner.scan_chunks("predictions.npy", vocab, "new", root="images")',
        "chunks is a str; pass an iterable of (labels, pred_probs, paths)",
    ),
    ('cleaner.scan_folds(learn, dls, "new")', "train is a Learner; pass a function that returns a trained learner"),
    (
        'cleaner.load("decisions.csv")',
        "'decisions.csv' is not the folder of a finished scan; a scan writes one: cleaner.scan(learn, out='scan')",
    ),
    (
        'cleaner.load("scan/decisions.csv")',
        "'scan/decisions.csv' is not the folder of a finished scan; pass the folder itself: 'scan'",
    ),
    (
        'cleaner.load("scan/scan.json")',
        "'scan/scan.json' is not the folder of a finished scan; pass the folder itself: 'scan'",
    ),
    ('cleaner.load("images")', f"'images' {NO_SCAN}"),
    ('cleaner.load("nowhere")', f"'nowhere' {NO_SCAN}"),
    (
        'cleaner.load("export.pkl")',
        "'export.pkl' is not the folder of a finished scan; a learner file is scanned first: "
        "cleaner.scan_folder(load_learner(file), data, out='scan')",
    ),
    ("cleaner.load(scan)", "expected the path of a scan folder, got Scan; it is a scan already"),
    (
        "cleaner.apply(scan.decisions())",
        "expected the path of a decisions.csv, got DataFrame; pass the scan that it is of",
    ),
    ('scan.worst("dog")', "n is 'dog'; expected a whole number of at least 1"),
    ('cleaner.Interpretation(scan).most_confused("dog")', "min_val is 'dog'; expected a whole number of at least 1"),
    ('cleaner.check("images", "checked", labels=["a"])', "expected the path of a label table as labels, got list; …"),
    ('scan.decide("labels.csv", "delete")', "there is no image 'labels.csv' below …"),
    (
        'scan.decide(scan.top().iloc[0], "keep")',
        'expected a sample of the scan or the path of an image, got Series; of a row of scan.top() pass row["path"]',
    ),
    (
        'scan.decide(scan.worst(1)[0], "relabel", "dgo")',
        "there is no label 'dgo' in this scan; did you mean 'dog'?",
    ),
    (
        "cleaner.load(learn)",
        "expected a scan or the path of a scan folder, got Learner; scan it first: scan = "
        "cleaner.scan(learn, out='scan')",
    ),
    (
        'cleaner.apply("scan.json")',
        "expected the path of a decisions.csv, got 'scan.json'; pass the manifest of a scan, such as 'decisions.csv'",
    ),
    (
        'cleaner.apply("scan/scan.json")',
        "expected the path of a decisions.csv, got 'scan/scan.json'; pass the manifest of a scan, such "
        "as 'scan/decisions.csv'",
    ),
    (
        'cleaner.apply("images")',
        "'images' is neither a scan folder nor a manifest; pass the scan folder, or its decisions.csv",
    ),
    ('cleaner.apply("nowhere")', "there is no manifest 'nowhere'; pass the scan folder, or its decisions.csv"),
    (
        "cleaner.apply(learn)",
        "expected the path of a decisions.csv, got Learner; scan it first: scan = cleaner.scan(learn, out='scan')",
    ),
    (
        "cleaner.apply(undecided)",
        "nothing is decided yet about the scan 'undecided'; review it first: cleaner.Review(scan)",
    ),
    (
        'cleaner.apply(scan, "nowhere")',
        "'nowhere' is not a folder; give the dataset's folder, or a copy or mount of images at an address",
    ),
    (
        'cleaner.apply(scan, "elsewhere")',
        "none of the images of the scan is in '…/elsewhere', such as …; pass the folder that this path begins in",
    ),
    (
        "cleaner.apply(scan, labels=df)",
        "expected the path of a label table as labels, got DataFrame; write it: df.to_csv('labels.csv', index=False)",
    ),
    (
        'cleaner.apply(scan, labels="labels.csv", name_pattern="(.+)_")',
        "Expected a label table or a name pattern, got both; labels are in one of them",
    ),
    (
        'cleaner.apply(scan, label_column="label")',
        "got a column or delimiter, but no label table; give the table too: labels=FILE",
    ),
    (
        'cleaner.apply(scan, name_pattern="cat")',
        "the name pattern 'cat' has no group; put the label in one, as in '(.+)_'",
    ),
    (
        'cleaner.apply(scan, name_pattern="(cat")',
        "the name pattern '(cat' is no regular expression: missing ), unterminated subpattern at position 0",
    ),
    (
        'cleaner.apply(scan, trash="images/trash")',
        "the trash 'images/trash' lies in the dataset '…/images', whose images it would join; give a "
        "folder outside of it",
    ),
    ('cleaner.apply(scan, trash="a/b/c")', "the trash 'a/b/c' is no folder, and cannot be made; make it first"),
    (
        'cleaner.apply(scan, labels="labels.csv", trash="trash")',
        "with a label table no file is moved, so there is no trash; leave out trash=",
    ),
    (
        'cleaner.apply(dry, labels="labels.csv")',
        "got a report and labels=; a report brings these arguments with it. Pass the scan to give others",
    ),
    ("cleaner.apply(None)", "got no decisions; pass the scan, its folder or its decisions.csv"),
    (
        'cleaner.Manifest("scan")',
        "expected the path of a decisions.csv, got 'scan'; that is a folder; pass the manifest of a "
        "scan: 'scan/decisions.csv'",
    ),
    (
        'cleaner.Manifest("scan/scan.json")',
        "expected the path of a decisions.csv, got 'scan/scan.json'; pass the manifest of a scan, such "
        "as 'scan/decisions.csv'",
    ),
    ("cleaner.Manifest(scan)", "expected the path of a decisions.csv, got Scan; pass scan.manifest_path"),
    (
        "cleaner.Manifest(learn)",
        "expected the path of a decisions.csv, got Learner; scan it first: scan = cleaner.scan(learn, out='scan')",
    ),
    (
        "cleaner.Interpretation(learn)",
        "expected a scan or the path of a scan folder, got Learner; scan it first: scan = "
        "cleaner.scan(learn, out='scan')",
    ),
    ('cleaner.Interpretation("images")', f"'images' {NO_SCAN}"),
    ('cleaner.Interpretation(scan, "test")', "there is no split 'test'; the scan has ['train', 'valid']"),
    (
        "cleaner.Interpretation(scan).plot_top_losses(0)",
        "k is 0; expected a whole number of at least 1, or positions from 0 up",
    ),
    (
        "cleaner.check(learn)",
        "expected the dataset's folder, got Learner; a check needs no learner; pass the folder: learn.dls.path",
    ),
    ('cleaner.check("nowhere", "checked")', "'nowhere' is not a folder; pass the folder that holds the images"),
    (
        'cleaner.check(learn, "checked")',
        "expected the dataset's folder, got Learner; a check needs no learner; pass the folder: learn.dls.path",
    ),
    ('cleaner.check(df, "checked")', "expected the dataset's folder as data, got DataFrame; pass its path"),
    (
        'cleaner.check("images", "checked", label_column="label")',
        "a path column or a label column needs a label table; pass labels=FILE",
    ),
    (
        'cleaner.check("images", "checked", labels="planet.csv")',
        "'planet.csv' has the columns ['picture', 'kind']; none has a usual name for paths (fname, file, "
        "…). Name the column: path_column=NAME",
    ),
    (
        'cleaner.check("images", "images")',
        "'images' is not a scan folder: it holds ['bear', 'cat', 'dog']; give a new or empty folder",
    ),
    ('cleaner.check("images", learn)', "expected the path of a scan folder as out, got Learner; pass its path"),
    ("cleaner.cleaned(df)", "got no decisions; pass the scan, its folder or its decisions.csv"),
    (
        "cleaner.cleaned(scan, df)",
        "expected a DataFrame or a list of paths, got Scan; pass the items first, then the scan",
    ),
    (
        'cleaner.cleaned(df, "images")',
        "'images' is neither a scan folder nor a manifest; pass the scan folder, or its decisions.csv",
    ),
    (
        "cleaner.cleaned(dls, scan)",
        "expected a DataFrame or a list of paths, got DataLoaders; pass the items that the data is made from",
    ),
    (
        "cleaner.cleaned(df, undecided)",
        "nothing is decided yet about the scan 'undecided'; review it first: cleaner.Review(scan)",
    ),
    (
        "cleaner.cleaned(paths, scan)",
        "1 of the paths get another label, such as 'dog/dog_1.png', which gets 'bear'; a list of paths "
        "has no labels: pass labels=, one for each path, or a DataFrame",
    ),
    (
        "cleaner.cleaned(paths, scan, labels=labels[:-1])",
        "got 21 paths and 20 labels; one label for each path is accepted",
    ),
    ('cleaner.cleaned("images", scan)', "items is 'images'; a DataFrame or a list of paths is accepted"),
    (
        'cleaner.cleaned(df, scan, label_column="kind")',
        "'the DataFrame' has no column 'kind'; its columns are ['fname', 'label']",
    ),
    (
        "cleaner.cleaned(df, learn)",
        "expected the path of a decisions.csv, got Learner; scan it first: scan = cleaner.scan(learn, out='scan')",
    ),
    ("cleaner.ScanCallback(learn)", "expected the path of a scan folder as out, got Learner; pass its path"),
    (
        'cleaner.ScanCallback("new", ranked_by="loss")',
        "ranked_by is 'loss'; pass one of 'training error', 'mean training loss', 'margin'",
    ),
    (
        "cleaner.LossRecorder(dataset, out=learn)",
        "expected the path of a scan folder as out, got Learner; pass its path",
    ),
    ("cleaner.Cluster(num_workers=0)", "num_workers is 0; pass a whole number of at least 1"),
    (
        'scan.decide("cat/none.png", "keep")',
        "there is no image 'cat/none.png' below '…/images'; pass a path relative to that folder, such as …",
    ),
    (
        'scan.decide("cat/cat_1.png", "remove")',
        "action is 'remove'; expected one of keep, delete, relabel, unsure, undo",
    ),
    ('scan.decide("cat/cat_1.png", "dog")', "action is 'dog', which is a label; pass 'relabel', 'dog'"),
    ('scan.decide("cat/cat_1.png", "relabel")', "'relabel' needs new_label, one of the 3 labels: bear, cat, dog"),
    (
        'scan.decide("cat/cat_1.png", "relabel", "horse")',
        "there is no label 'horse' in this scan; pick one of its 3: bear, cat, dog",
    ),
    (
        'scan.decide("cat/cat_1.png", "relabel", "cat")',
        "'cat/cat_1.png' has the label 'cat' already; decide 'keep' to confirm it",
    ),
    (
        'scan.decide("cat/cat_1.png", "delete", "dog")',
        "new_label is 'dog', and the action 'delete'; only 'relabel' has a new label",
    ),
    ('scan.decide("cat/cat_1.png", "undo")', "'cat/cat_1.png' is not decided, so there is nothing to undo"),
    ('scan.decide("cat/cat_1.png", "relabel", 1)', "new_label is 1; expected text such as 'bear'"),
    (
        'scan.decide(3, "keep")',
        'expected a sample of the scan or the path of an image, got int; of a row of scan.top() pass row["path"]',
    ),
    (
        'scan.decide("/etc/passwd", "keep")',
        "there is no image '/etc/passwd' below '…/images'; pass a path relative to that folder, such as …",
    ),
    (
        'scan.decide("../labels.csv", "delete")',
        "there is no image '../labels.csv' below '…/images'; pass a path relative to that folder, such as …",
    ),
    (
        'scan.decide("cat/cat_1.png", "keep", reviewer="")',
        "the reviewer's name is ''; expected a text of 1 to 80 characters that does not begin with '=', "
        "'+', '-' or '@'",
    ),
    ('scan.top("test")', "there is no split 'test'; the scan has ['train', 'valid']"),
    ('scan.top("train", "horse")', "there is no label 'horse'; the scan has bear, cat, dog"),
    ('scan.kept("cat", "train")', "there is no split 'cat'; the scan has ['train', 'valid']"),
]

# What people type after `cleaner`.
COMMANDS = [
    (
        "serve scan/decisions.csv",
        "'scan/decisions.csv' is not the folder of a finished scan; pass the folder itself: 'scan'",
    ),
    ("serve images", f"'images' {NO_SCAN_IN_WORDS}"),
    (
        "serve scan --data nowhere",
        "there is no folder '…/nowhere' with the images; say where they are now: pass --data DIR",
    ),
    (
        "serve scan --data elsewhere",
        "none of the images of the scan is in '…/elsewhere', such as …; pass the folder that this path begins in",
    ),
    ("serve scan --port 99999", "the port is 99999; expected a number from 1 to 65535"),
    ("serve scan --token short", "the token is shorter than 8 characters; leave it out to get a random one"),
    (
        "show export.pkl",
        "'export.pkl' is not the folder of a finished scan; a learner file is scanned first: `cleaner "
        "scan --learner FILE --data DIR`",
    ),
    ("show images", f"'images' {NO_SCAN_IN_WORDS}"),
    ("show scan --split test", "there is no split 'test'; the scan has ['train', 'valid']"),
    ("show scan --label horse", "there is no label 'horse'; the scan has bear, cat, dog"),
    ("show scan -n 0", "-n is 0; expected a whole number of at least 1"),
    ("agreement scan -n -3", "-n is -3; expected at least 0"),
    (
        "serve scan --max-visitors 0",
        "--max-visitors is 0; expected a whole number from 1, or nothing for as many as fit",
    ),
    (
        "serve scan --data zip://::ds.zip",
        "--data is 'zip://::ds.zip', an address; give the folder of a copy or mount …",
    ),
    (
        "serve scan --ip 192.0.2.1",
        "cannot listen on 192.0.2.1:8866: …; give another --ip ADDRESS, one of this machine",
    ),
    (
        "scan --learner export.pkl --data images --out new --check --input-size 0",
        "--input-size is 0; expected a whole number of at least 1",
    ),
    (
        "apply scan/scan.json",
        "expected the path of a decisions.csv, got 'scan/scan.json'; pass the manifest of a scan, such "
        "as 'scan/decisions.csv'",
    ),
    ("apply images", "'images' is neither a scan folder nor a manifest; pass the scan folder, or its decisions.csv"),
    ("apply nowhere", "there is no manifest 'nowhere'; pass the scan folder, or its decisions.csv"),
    (
        "apply scan --data nowhere",
        "'nowhere' is not a folder; give the dataset's folder, or a copy or mount of images at an address",
    ),
    (
        "apply scan --data elsewhere",
        "none of the images of the scan is in '…/elsewhere', such as …; pass the folder that this path begins in",
    ),
    (
        "apply scan --data elsewhere --dry-run --json",
        "none of the images of the scan is in '…/elsewhere', such as …; pass the folder that this path begins in",
    ),
    ("apply undecided", "nothing is decided yet about the scan 'undecided'; review it first: `cleaner serve SCAN`"),
    (
        "apply scan --label-column label",
        "got a column or delimiter, but no label table; give the table too: --labels FILE",
    ),
    (
        "apply scan --labels labels.csv --name-pattern (.+)_",
        "Expected a label table or a name pattern, got both; labels are in one of them",
    ),
    (
        "apply scan --labels planet.csv",
        "'…/planet.csv' has the columns ['picture', 'kind']; none has a usual name for paths (fname, "
        "file, …). Name the column: --path-column NAME",
    ),
    (
        "apply scan --trash images/trash",
        "the trash 'images/trash' lies in the dataset '…/images', whose images it would join; give a "
        "folder outside of it",
    ),
    (
        "apply scan --labels labels.csv --trash trash",
        "with a label table no file is moved, so there is no trash; leave out --trash",
    ),
    (
        "undo scan",
        "'scan' is not a journal of an apply; no apply left a journal in 'scan', so there is nothing to undo",
    ),
    (
        "undo scan/decisions.csv",
        "'scan/decisions.csv' is not a journal of an apply; no apply left a journal in 'scan', so "
        "there is nothing to undo",
    ),
    ("undo nowhere.jsonl", "'nowhere.jsonl' is not a journal of `cleaner apply`: …"),
    ("undo labels.csv", "'labels.csv' is not a journal of `cleaner apply`: Expecting value: line 1 column 1 (char 0)"),
    (
        "trash scan",
        "'scan' is not a journal of an apply; no apply left a journal in 'scan', so there is nothing to undo",
    ),
    (
        "trash scan --empty",
        "'scan' is not a journal of an apply; no apply left a journal in 'scan', so there is nothing to undo",
    ),
    ("export scan", "error: the following arguments are required: --out"),
    (
        "export images --out all.csv",
        "'images' is neither a scan folder nor a manifest; pass the scan folder, or its decisions.csv",
    ),
    (
        "export scan --out labels.csv",
        "'labels.csv' exists and is not an earlier export of decisions; give another name",
    ),
    (
        "scan --learner export.pkl --data images --out new",
        "'export.pkl' is a learner file, and loading it runs whatever code is in it. Its sha256 is …. If "
        "you made it, or trust its author and the way it came to you, add --trust; you are asked only "
        "once about a file with these bytes",
    ),
    (
        "scan --learner nowhere.pkl --data images --out new --trust",
        "there is no learner file 'nowhere.pkl'. Pass the file that learn.export() wrote: it is in learn.path, often "
        "the folder of the images",
    ),
    (
        "scan --learner labels.csv --data images --out new --trust",
        "'labels.csv' cannot be loaded (ValueError: it is neither a zip archive nor a pickle). Pass the "
        "file that learn.export() wrote, with the same versions of fastai and torch; learn.save() writes "
        "only weights",
    ),
    (
        "scan --learner export.pkl --trust --data nowhere --out new",
        "'nowhere' is not a folder; pass the folder that holds the images",
    ),
    (
        "scan --learner export.pkl --trust --data elsewhere --out new",
        "there is no image in 'elsewhere'; pass the folder that holds the images",
    ),
    (
        "scan --learner export.pkl --trust --data images --out images",
        "'images' is not a scan folder: it holds ['bear', 'cat', 'dog']; give a new or empty folder",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --batch-size 0",
        "--batch-size is 0; pass a whole number of at least 1",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new -k 0",
        "-k is 0; pass a whole number of at least 1, or 'auto'",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new -k many",
        "error: argument -k: 'many' is neither a whole number nor 'auto'",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --views 20",
        "--views is 20; pass a whole number from 1, the image alone, to 9",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --fast --features",
        "a fast scan runs variants of the model that show no features; leave out --fast or --features",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --device gpu",
        "torch cannot use the device 'gpu' (…). Pass 'cpu', 'auto', or the name of a device of this "
        "machine, such as 'cuda:0' or 'mps'",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --label-column label",
        "a path column or a label column needs a label table; name the table too: --labels FILE",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --labels planet.csv",
        "'planet.csv' has the columns ['picture', 'kind']; none has a usual name for paths (fname, file, "
        "…). Name the column: --path-column NAME",
    ),
    (
        "scan --learner export.pkl --trust --data elsewhere --out new --labels labels.csv",
        "none of the files that 'labels.csv' names exists, such as '…/elsewhere/bear/bear_0.png'. Paths "
        "are relative to the dataset's folder or to that of the table; pass the folder that the paths "
        "begin in",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --split train",
        "--split can be given only with --pred-probs",
    ),
    (
        "scan --learner export.pkl --trust --data images --out new --address auto",
        "--address can be given only with --engine ray",
    ),
    (
        "scan --pred-probs none.npy --data images --out new",
        "--pred-probs needs a table with the paths and labels; give --labels FILE",
    ),
    (
        "scan --pred-probs none.npy --labels labels.csv --data images --out new",
        "'none.npy' cannot be read (…); pass an .npy file with one array [n, n_classes], from numpy.save",
    ),
    (
        "scan --pred-probs labels.csv --labels labels.csv --data images --out new",
        "'labels.csv' cannot be read (…) data. If you trust the file you can load it unsafely using the "
        "`allow_pickle=` keyword argument or `pickle.load()`.); pass an .npy file with one array [n, "
        "n_classes], from numpy.save",
    ),
    ("scan --learner export.pkl --data images", "error: the following arguments are required: --out"),
    ("scan --data images --out new", "error: one of the arguments --learner --pred-probs is required"),
    ("check --data nowhere --out new", "'nowhere' is not a folder; pass the folder that holds the images"),
    ("check --data elsewhere --out new", "there is no image in '…/elsewhere'; pass the folder that holds the images"),
    (
        "check --data images --out new --label-column label",
        "a path column or a label column needs a label table; pass --labels FILE",
    ),
    ("check --data images --out new --workers -1", "--workers is -1; expected a whole number of at least 0"),
    ("check images", "error: the following arguments are required: --data, --out"),
    ("history images", f"'images' {NO_SCAN_IN_WORDS}"),
    ("agreement labels.csv", "'labels.csv' is not the folder of a finished scan; a scan writes one: `cleaner scan`"),
    (
        "frobnicate",
        "error: argument COMMAND: invalid choice: 'frobnicate' (choose from …)",
    ),
    (
        "demo --dir images",
        "'images' exists already and is not empty. Give another --dir; one of a demo that was stopped can be deleted",
    ),
]


def pattern(expected: str) -> str:
    return re.escape(expected).replace("…", ".*")


def content(folder: Path) -> dict[str, int]:
    """Return the files of a folder with the time of their last change."""
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*") if file.suffix not in (".lock", ".json")}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a call may use; the current folder has a dataset, a learner's file and two scans, one without decisions."""
    folder = tmp_path_factory.mktemp("mistakes")
    make_folder(folder / "images")
    (folder / "elsewhere").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TQDM_DISABLE", "1")
        learn = make_learner(Path("images"))
        learn.path = folder
        learn.export("export.pkl")
        scan = cleaner.scan(learn, "scan", progress=False, workers=0)
        undecided = cleaner.scan(learn, "undecided", progress=False, workers=0)
        scan.decide("cat/cat_0.png", "delete")
        scan.decide("dog/dog_1.png", "relabel", "bear")
        paths = [f"{path.parent.name}/{path.name}" for path in sorted(Path("images").rglob("*.png"))]
        df = pd.DataFrame({"fname": paths, "label": [path.partition("/")[0] for path in paths]})
        df.to_csv("labels.csv", index=False)
        df.rename(columns={"fname": "picture", "label": "kind"}).to_csv("planet.csv", index=False)
        yield {
            "cleaner": cleaner,
            "learn": learn,
            "dls": learn.dls,
            "model": make_model(),
            "dataset": ImageFolder("images", TRANSFORM),
            "scan": scan,
            "undecided": undecided,
            "dry": cleaner.apply(scan, dry_run=True),
            "df": df,
            "paths": paths,
            "labels": df["label"].tolist(),
            "pred_probs": np.random.default_rng(0).dirichlet(np.ones(3), len(paths)),
            "vocab": list(VOCAB),
        }


def test_at_least_sixty_mistakes_are_known() -> None:
    assert len(dict(CALLS)) + len(dict(COMMANDS)) >= 60


@pytest.mark.parametrize(("call", "expected"), CALLS, ids=[call for call, _ in CALLS])
def test_a_wrong_call_gets_a_sentence(call: str, expected: str, names: dict[str, Any]) -> None:
    before = content(Path("images"))
    with pytest.raises(cleaner.CleanerError) as caught:
        eval(call, names)
    assert re.fullmatch(pattern(expected), str(caught.value)), caught.value
    assert "--" not in str(caught.value), "a flag in a message for Python"
    assert content(Path("images")) == before


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(("command", "expected"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_wrong_command_gets_a_sentence(command: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(Path("images"))
    try:
        status = main(shlex.split(command))
    except SystemExit as error:
        status = error.code
    said = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert re.search(rf"cleaner( \w+)?: {pattern(expected)}\Z", said[-1]), said[-1]
    assert not re.search(r"\w=[A-Z\d']", said[-1]), "a Python argument in a message for the command line"
    assert content(Path("images")) == before


@pytest.mark.parametrize("is_inside", [False, True])
@pytest.mark.parametrize("what", ["scan", "check"])
def test_a_scan_folder_in_the_dataset_is_warned_of(
    what: str, is_inside: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder(tmp_path / "images", 2)
    out = root / "scan" if is_inside else tmp_path / "scan"
    if what == "check":
        cleaner.check(root, out, workers=0, progress=False)
    else:
        paths = [f"{label}/{label}_{n}.png" for label in VOCAB for n in range(2)]
        labels = [path.partition("/")[0] for path in paths]
        cleaner.scan_arrays(labels, np.full((6, 3), 1 / 3), paths, VOCAB, out=out, root=root, progress=False)
    assert ("lies in the dataset" in caplog.text) is is_inside
    assert ("scan" in ImageFolder(root, allow_empty=True).classes) is is_inside


def test_a_type_checker_knows_the_public_names_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        'import cleaner\n\nreport: cleaner.CleanerError\ncleaner.apply("scan", dry_run=True)\n'
    )
    (tmp_path / "wrong.py").write_text("import cleaner\n\ncleaner.scan_typo()\n")
    # Only the package itself is read: torch and numpy take most of the time and change nothing here.
    settings = "[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n"
    for name in ("torch", "numpy", "fastai", "pandas", "PIL", "traitlets", "anywidget", "matplotlib", "ray", "tornado"):
        settings += f"[mypy-{name}.*]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(settings)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "right.py", "wrong.py"]
    where = {"MYPYPATH": str(Path(cleaner.__file__).parent.parent)}
    found = subprocess.run(command, cwd=tmp_path, env=os.environ | where, capture_output=True, text=True, check=False)
    first, last = found.stdout.splitlines()
    assert first.startswith('wrong.py:3: error: Module has no attribute "scan_typo"')
    assert last.startswith("Found 1 error")
