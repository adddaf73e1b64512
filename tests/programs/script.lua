#!/usr/bin/lua5.4
-- SPDX-License-Identifier: Apache-2.0
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
print(fib(20), string.format("%.6f", math.sqrt(2)), #string.rep("ab", 5000))
local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i * i) end end)
print(co(), co(), co())
local name = "/tmp/script.lua.txt"
local f = assert(io.open(name, "w"))
for i = 1, 100 do f:write("line ", i, "\n") end
f:close()
local n = 0
for line in io.lines(name) do n = n + #line end
os.remove(name)
print(n, pcall(error, "caught"))
os.exit(8)
