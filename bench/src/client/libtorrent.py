"""libtorrent as a bare client: libtorrent.py IP TORRENT DIR seed | leech FILE

seed: has the torrent's data in DIR. leech: downloads into DIR and makes FILE once everything is there.
"""
import sys
import time

import libtorrent

ip, torrent, directory, role, *done = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": f"{ip}:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # TCP in plain, as everybody here: the way is to be the same.
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    # As many as anybody else has.
    "allow_multiple_connections_per_ip": True,
    "unchoke_slots_limit": -1,
    "max_out_request_queue": 2000,
    "max_allowed_in_request_queue": 4000,
    "send_buffer_watermark": 4 << 20,
    "aio_threads": 2,
    "hashing_threads": 1,
    "alert_mask": libtorrent.alert.category_t.status_notification,
})
params = libtorrent.add_torrent_params()
params.ti = libtorrent.torrent_info(torrent)
params.save_path = directory
params.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
if role == "seed":
    # What it is told to be true is true, so that it does not hash before it seeds.
    params.flags |= libtorrent.torrent_flags.seed_mode
handle = session.add_torrent(params)
while role == "leech":
    # Never wait_for_alert(): what it returns may move while the binding looks at it (SIGSEGV).
    time.sleep(0.005)
    if any(isinstance(alert, libtorrent.torrent_finished_alert) for alert in session.pop_alerts()):
        open(done[0], "w").close()
        break
while True:
    time.sleep(60)
