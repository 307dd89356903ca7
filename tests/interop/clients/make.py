"""Makes a torrent with libtorrent: make.py FILE_OR_FOLDER TORRENT PIECE_LENGTH URL"""

import os
import sys

import libtorrent

path, torrent, piece, url = sys.argv[1:]
files = libtorrent.file_storage()
libtorrent.add_files(files, path)
made = libtorrent.create_torrent(files, int(piece), libtorrent.create_torrent.v1_only)
made.add_tracker(url)
libtorrent.set_piece_hashes(made, os.path.dirname(path))
with open(torrent, "wb") as out:
    out.write(libtorrent.bencode(made.generate()))
