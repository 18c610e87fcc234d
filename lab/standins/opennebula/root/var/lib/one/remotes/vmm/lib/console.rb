# The console of a "machine" of the rehearsal: an RFB 3.8 server (RFC 6143) with an empty screen.
# Arguments: the machine's name, the number of the open socket that it listens on, `open` or `locked`.
#
# It speaks every message of a client, tells the desktop's name and prints the keys that come. A machine with a password
# lets nobody in: the DES of VNC's passwords is not rehearsed.

require 'socket'

WIDTH = 640
HEIGHT = 480
PIXELS = [32, 24, 0, 1, 255, 255, 255, 16, 8, 0].pack('CCCCnnnCCCx3') # 32 bits, true colours
NO_SECURITY = 1
LENGTHS = { 0 => 19, 3 => 9, 5 => 5 } # of messages that only change what is drawn

name, socket, lock = ARGV
desktop = "#{name} on #{Socket.gethostname}, a rehearsal stand-in"

def need(client, count)
  data = client.read(count)
  raise EOFError if data.nil? || data.bytesize < count

  data
end

def greet(client, desktop, lock)
  client.write("RFB 003.008\n")
  raise IOError, 'not RFB 3.8' unless need(client, 12) == "RFB 003.008\n"

  if lock == 'locked'
    reason = 'passwords are not rehearsed'
    client.write([0, reason.bytesize].pack('CN') + reason)
    return false
  end
  client.write([1, NO_SECURITY].pack('CC'))
  raise IOError, 'no such security' unless need(client, 1).unpack1('C') == NO_SECURITY

  client.write([0].pack('N'))
  need(client, 1)
  client.write([WIDTH, HEIGHT].pack('nn') + PIXELS + [desktop.bytesize].pack('N') + desktop)
  true
end

def obey(client)
  kind = need(client, 1).unpack1('C')
  case kind
  when *LENGTHS.keys then need(client, LENGTHS[kind])
  when 2 then need(client, 4 * need(client, 3).unpack1('xn'))
  when 4
    pressed, symbol = need(client, 7).unpack('Cx2N')
    puts "key #{symbol} #{pressed == 1 ? 'pressed' : 'released'}"
    $stdout.flush
  when 6 then need(client, need(client, 7).unpack1('x3N'))
  else raise IOError, "no such message: #{kind}"
  end
end

server = TCPServer.for_fd(socket.to_i)
loop do
  Thread.new(server.accept) do |client|
    loop { obey(client) } if greet(client, desktop, lock)
  rescue IOError, SystemCallError => e
    warn "console: #{e.message}" unless e.is_a?(EOFError)
  ensure
    client.close
  end
end
