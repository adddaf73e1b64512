#!/usr/bin/ruby
# SPDX-License-Identifier: Apache-2.0
require 'digest/sha2' # not only when threads ask for it
require 'json'
queue = Queue.new
threads = (0...8).map { |n| Thread.new { queue << [n, Digest::SHA256.hexdigest(n.to_s)[0, 8]] } }
threads.each(&:join)
puts (0...8).map { queue.pop }.sort.inspect
puts JSON.generate('a' => 1, 'b' => [nil, 2.5]), (1..20).reduce(:*)
File.write('/tmp/script.rb.txt', "x\n" * 100)
puts File.foreach('/tmp/script.rb.txt').count
File.delete('/tmp/script.rb.txt')
f = Fiber.new { 3.times { |i| Fiber.yield i }; :done }
puts 4.times.map { f.resume }.inspect
begin
  raise ArgumentError, 'caught'
rescue => e
  puts e.message
end
exit 12
