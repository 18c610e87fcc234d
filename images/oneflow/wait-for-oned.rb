# ruby wait-for-oned.rb HOST PORT SECONDS: 0 as soon as somebody answers there, 1 when nobody did in that time.
#
# Ruby, because OneFlow's image has it and need not have curl or nc; one process for the whole wait.

require 'socket'

host, port, limit = ARGV[0], Integer(ARGV[1]), Integer(ARGV[2])
%w[TERM INT].each { |name| trap(name) { exit!(143) } }
$stdout.sync = true

last = Process.clock_gettime(Process::CLOCK_MONOTONIC) + limit
told = nil
loop do
    begin
        Socket.tcp(host, port, connect_timeout: 2).close
        exit 0
    rescue SystemCallError, SocketError => error
        puts "waiting for oned at #{host}:#{port}: #{error.message}" if error.message != told
        told = error.message
    end
    exit 1 if Process.clock_gettime(Process::CLOCK_MONOTONIC) >= last
    sleep 1
end
