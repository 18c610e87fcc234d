# ZMTP 3.0 without security (rfc.zeromq.org/spec/23), as much as a subscriber and a requester need.

require 'socket'

module Standin

    module Zmtp

        GREETING = ("\xFF".b + ("\0".b * 8) + "\x7F\x03\x00NULL".b).ljust(64, "\0").b.freeze
        MORE = 1
        LONG = 2
        COMMAND = 4
        RETRY_SECONDS = 0.5

        # A connection after the handshake.
        class Link

            def initialize(endpoint, type)
                host, port = endpoint.delete_prefix('tcp://').split(':')
                @socket = Socket.tcp(host, port.to_i, :connect_timeout => 10)
                @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
                @socket.write(GREETING)
                greeting = read(64)
                unless greeting.getbyte(0) == 0xFF && greeting.getbyte(10) >= 3 && greeting[12, 20].delete("\0") == 'NULL'
                    raise IOError, "#{endpoint} does not speak ZMTP 3 without security"
                end

                write(COMMAND, "\x05READY".b + "\x0BSocket-Type".b + [type.bytesize].pack('N') + type)
                flags, ready = frame
                raise IOError, "#{endpoint} refused" unless flags & COMMAND != 0 && ready[1, 5] == 'READY'
            end

            def write(flags, content)
                size = content.bytesize
                header = size < 256 ? [flags, size].pack('CC') : [flags | LONG, size].pack('CQ>')
                @socket.write(header + content.b)
            end

            # All frames of the next message; commands such as PING are passed over.
            def message
                parts = []
                loop do
                    flags, content = frame
                    next if flags & COMMAND != 0

                    parts << content
                    return parts if flags & MORE == 0
                end
            end

            # @return [Boolean] whether something can be read within `seconds`
            def wait(seconds)
                !@socket.wait_readable(seconds).nil?
            end

            def close
                @socket.close
            end

            private

            def frame
                flags = read(1).getbyte(0)
                size = flags & LONG == 0 ? read(1).getbyte(0) : read(8).unpack1('Q>')
                [flags, read(size)]
            end

            def read(size)
                return ''.b if size.zero?

                content = @socket.read(size)
                raise EOFError, 'the publisher closed the connection' if content.nil? || content.bytesize < size

                content
            end

        end

        # Takes topics and hands messages on; connects by itself, again and again, as ZeroMQ does.
        class Subscriber

            def initialize(endpoint, topics, logger)
                @endpoint = endpoint
                @topics = topics.dup
                @logger = logger
                @lock = Mutex.new
            end

            def subscribe(topic)
                @lock.synchronize do
                    @topics << topic
                    @link&.write(0, "\x01#{topic}")
                end
            end

            # Connects now if it can; otherwise `receive` goes on trying.
            def open
                connected
            end

            # The next message, or nil after `seconds` without one.
            def receive(seconds)
                deadline = now + seconds
                loop do
                    link = connected
                    if link.nil?
                        return nil if now >= deadline

                        sleep([RETRY_SECONDS, deadline - now].min)
                        next
                    end
                    begin
                        left = deadline - now
                        return nil if left <= 0 || !link.wait(left)

                        return link.message
                    rescue IOError, SystemCallError => e
                        @logger.warn("#{@endpoint}: #{e.message}")
                        drop
                    end
                end
            end

            def close
                drop
            end

            private

            def connected
                return @link if @link

                link = Link.new(@endpoint, 'SUB')
                @lock.synchronize do
                    @topics.each {|topic| link.write(0, "\x01#{topic}") }
                    @reported = false
                    @link = link
                end
            rescue IOError, SystemCallError, SocketError => e
                @logger.warn("#{@endpoint}: #{e.message}") unless @reported
                @reported = true
                nil
            end

            def drop
                @lock.synchronize do
                    @link&.close
                    @link = nil
                end
            end

            def now
                Process.clock_gettime(Process::CLOCK_MONOTONIC)
            end

        end

        # One question and its answer over a REQ socket; a connection for each.
        def self.request(endpoint, text)
            link = Link.new(endpoint, 'REQ')
            link.write(MORE, '')
            link.write(0, text)
            link.message.last
        ensure
            link&.close
        end

    end

end
