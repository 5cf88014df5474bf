module github.com/ngaut/log

go 1.26.0
