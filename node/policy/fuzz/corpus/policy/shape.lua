return { api = 1, chose = 1, on = { tik = 2 }, params = { x = { type = "enum", default = 1 } }, requires = { "lables" } }
