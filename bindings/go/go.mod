module hopmla.dev/go/hopmla

go 1.19
