# Sends messages to onemonitord: `<TYPE> <SUCCESS|FAILURE> <host id> <time> <base64 of zlib of the payload>`.
#
# The address is resolved once, and its first answer is used until the client is started again. With a public key the
# payload is encrypted block by block before it is compressed; that hides it, and proves nothing about the sender.

require 'base64'
require 'socket'
require 'zlib'

# One destination for one host id.
class MonitordClient
  PADDING_BYTES = 11 # of PKCS#1 v1.5

  def initialize(server, port, host_id, public_key)
    @family, @port, _, @address = Socket.getaddrinfo(server, port)[0]
    @host_id = host_id
    @public_key = public_key
    @datagrams = UDPSocket.new(@family)
  end

  def push(type, transport, success, payload)
    message = "#{type} #{success ? 'SUCCESS' : 'FAILURE'} #{@host_id} #{Time.now.to_i} #{pack(payload)}"
    if transport == :udp
      @datagrams.send(message, 0, @address, @port)
    else
      TCPSocket.open(@address, @port) { |socket| socket.write(message) }
    end
  end

  private

  def pack(payload)
    Base64.strict_encode64(Zlib::Deflate.deflate(encrypt(payload), Zlib::BEST_COMPRESSION))
  end

  def encrypt(payload)
    return payload unless @public_key

    size = @public_key.n.num_bytes - PADDING_BYTES
    payload.b.scan(/.{1,#{size}}/mn).map { |block| @public_key.public_encrypt(block) }.join
  end
end
