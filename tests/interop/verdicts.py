"""Says what libtorrent makes of metainfo files: one line of JSON for each file named on the
command line, in their order."""

import json
import sys

import libtorrent

# More than the largest file here: what is asked for is a verdict on content, not on size.
LIMITS = {"max_buffer_size": 64 << 20}


def verdict(path):
    try:
        torrent = libtorrent.torrent_info(path, LIMITS)
    except RuntimeError as error:
        return {"error": str(error)}
    files = torrent.files()
    flags = libtorrent.file_storage

    def kind(index):
        found = files.file_flags(index)
        if found & flags.flag_symlink:
            return "symlink"
        return "pad" if found & flags.flag_pad_file else "regular"

    return {
        "info_hash": str(torrent.info_hashes().v1),
        "name": torrent.name(),
        "private": torrent.priv(),
        "files": [
            [files.file_path(index), files.file_size(index), kind(index)]
            for index in range(files.num_files())
        ],
    }


for path in sys.argv[1:]:
    print(json.dumps(verdict(path)))
