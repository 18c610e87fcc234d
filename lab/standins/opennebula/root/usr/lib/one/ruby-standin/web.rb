# A small HTTP server in the manner of the real ones: routes by method and pattern, any Host header, quick end on SIGTERM.

require 'webrick'

module Standin

    # What a route raises to answer with something else at once.
    class Halt < StandardError

        attr_reader :status, :body

        def initialize(status, body = '')
            super(body.to_s)
            @status = status
            @body = body
        end

    end

    class Web

        JSON_TYPE = 'application/json;charset=utf-8'.freeze
        Request = Struct.new(:raw, :match, keyword_init: true) do
            def [](name)
                match[name]
            end

            def header(name)
                raw[name]
            end

            def query
                @query ||= URI.decode_www_form(raw.query_string.to_s).to_h
            end

            def body
                raw.body.to_s.dup.force_encoding(Encoding::UTF_8)
            end

            # @raise [Halt] 500 with the parser's text, as an unguarded JSON.parse in the real ones
            def json
                content = JSON.parse(body)
                content.is_a?(Hash) ? content : raise(Halt.new(500, 'the body is not an object'))
            rescue JSON::ParserError => e
                raise Halt.new(500, e.message)
            end
        end

        def initialize(name, logger, missing: [404, ''])
            @name = name
            @logger = logger
            @missing = missing
            @routes = []
        end

        # `pattern` is a path with :names, each of one segment.
        def route(method, pattern, &action)
            source = pattern.gsub(/:(\w+)/, '(?<\1>[^/]+)')
            @routes << [method, /\A#{source}\z/, action]
        end

        # Runs before every route; what it raises is the answer.
        def before(&action)
            @before = action
        end

        # Serves until SIGTERM or SIGINT.
        # @raise [SystemExit] 1 when the address cannot be taken
        def run(host, port)
            quiet = WEBrick::Log.new(File::NULL)
            server = WEBrick::HTTPServer.new(:BindAddress => host, :Port => port, :Logger => quiet, :AccessLog => [],
                                             :ServerSoftware => @name)
            server.mount('/', servlet)
            ['TERM', 'INT'].each {|signal| trap(signal) { server.shutdown } }
            @logger.info("#{@name} listening on #{host}:#{port}")
            puts "#{@name} listening on #{host}:#{port}"
            $stdout.flush
            server.start
        rescue Errno::EADDRINUSE, Errno::EADDRNOTAVAIL, Errno::EACCES, SocketError => e
            warn "#{@name} cannot listen on #{host}:#{port}: #{e.message}"
            @logger.error("cannot listen on #{host}:#{port}: #{e.message}")
            exit 1
        end

        def answer(raw)
            method = raw.request_method == 'HEAD' ? 'GET' : raw.request_method
            @before&.call(raw)
            @routes.each do |wanted, pattern, action|
                match = wanted == method && pattern.match(raw.path)
                return action.call(Request.new(:raw => raw, :match => match)) if match
            end
            @missing
        rescue Halt => e
            [e.status, e.body]
        rescue StandardError => e
            @logger.error("#{raw.request_method} #{raw.path}: #{e.message}\n#{e.backtrace.first(3).join("\n")}")
            [500, e.message.sub(/^ERROR:\s*/, '')]
        end

        private

        def servlet
            web = self
            logger = @logger
            Class.new(WEBrick::HTTPServlet::AbstractServlet) do
                define_method(:service) do |request, response|
                    status, body, headers = web.answer(request)
                    response.status = status
                    response['Content-Type'] = JSON_TYPE
                    headers&.each {|name, value| response[name] = value }
                    response.body = body.is_a?(String) ? body : JSON.generate(body) unless status == 204
                    logger.info("#{request.peeraddr.last} #{request.request_method} #{request.path} #{status}")
                end
            end
        end

    end

end
