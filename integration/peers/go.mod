module github.com/hoptrace/hoptrace/integration/peers

go 1.26.0
