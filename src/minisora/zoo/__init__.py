"""The papers that led to Sora, each in one file, trained on the same toy data in minutes.

Each module here is a paper: its docstring tells what was new and what was made smaller, its code
keeps the paper's symbols. `minisora zoo` lists them in reading order (frame/list.py).

    frame/   what they share: an entry's form, data, training, measuring, pages
    nets/    networks that several papers share
"""
