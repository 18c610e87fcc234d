# oned's XML-RPC API, and sessions of serveradmin made for a user (src/cloud/common/CloudAuth.rb, server_cipher_auth.rb).

require 'base64'
require 'digest'
require 'openssl'
require 'rexml/document'
require 'xmlrpc/client'

module Standin

    # An answer with `false`, with oned's own text and code.
    class OneError < StandardError

        AUTHENTICATION = 0x0100
        AUTHORIZATION = 0x0200
        NO_EXISTS = 0x0400
        UNREACHABLE = -1

        attr_reader :code

        def initialize(message, code)
            super(message)
            @code = code
        end

        def unreachable?
            code == UNREACHABLE
        end

    end

    # One endpoint with one session. A connection is made for each call, so threads may share it.
    class Oned

        TIMEOUT = 60

        attr_reader :session

        def initialize(endpoint, session)
            @endpoint = endpoint
            @session = session
        end

        # @return the value of a success
        # @raise [OneError] a refusal, a fault, or no answer
        def call(method, *arguments)
            client = XMLRPC::Client.new2(@endpoint, nil, TIMEOUT)
            success, value, code = client.call("one.#{method}", @session, *arguments)
            raise OneError.new(value.to_s, code.to_i) unless success

            value
        rescue XMLRPC::FaultException => e
            raise OneError.new(e.faultString, 0x2000)
        rescue OneError
            raise
        rescue StandardError => e
            raise OneError.new(e.message, OneError::UNREACHABLE)
        end

        # @return [REXML::Element] the document that a call gives
        def document(method, *arguments)
            REXML::Document.new(call(method, *arguments)).root
        end

    end

    # The daemon's own credential, and the tokens that it makes with it.
    class ServerAdmin

        CIPHER = 'aes-256-cbc'.freeze
        EXPIRE_DELTA = 1800
        EXPIRE_MARGIN = 300

        # @raise [StandardError] with the real one's text when the file cannot be used
        def initialize(path, endpoint)
            @endpoint = endpoint
            match = File.read(path).rstrip.match(/(.*?):(.*)/)
            raise 'Bad format for one_auth token (<user>:<passwd>)' if match.nil?

            @user, password = match.captures
            @key = Digest::SHA256.hexdigest(password)[0, 32]
            @lock = Mutex.new
            @expires = Time.now.to_i + EXPIRE_DELTA
        end

        # A client that acts for `user` (serveradmin itself when nil).
        def client(user = nil)
            Oned.new(@endpoint, session(user || @user))
        end

        # A client with a session that somebody else gave.
        def foreign(session)
            Oned.new(@endpoint, session)
        end

        def session(user)
            expires = @lock.synchronize do
                now = Time.now.to_i
                @expires = now + EXPIRE_DELTA if now > @expires - EXPIRE_MARGIN
                @expires
            end
            cipher = OpenSSL::Cipher.new(CIPHER).encrypt
            cipher.key = @key
            cipher.iv = @key[0, 16]
            token = cipher.update("#{@user}:#{user}:#{expires}") + cipher.final
            "#{@user}:#{user}:#{Base64.strict_encode64(token)}"
        end

    end

    # Documents of oned as hashes: repeated elements are arrays, an empty one is {}.
    module Values

        def self.hash(element)
            return element.texts.map(&:value).join if element.elements.empty? && element.has_text?

            element.elements.each_with_object({}) do |child, result|
                value = hash(child)
                result[child.name] = result.key?(child.name) ? [result[child.name]].flatten(1) << value : value
            end
        end

        def self.text(element, path)
            found = element.elements[path]
            found&.texts&.map(&:value)&.join
        end

    end

    VM_STATES = {
        0 => 'INIT', 1 => 'PENDING', 2 => 'HOLD', 3 => 'ACTIVE', 4 => 'STOPPED', 5 => 'SUSPENDED', 6 => 'DONE',
        8 => 'POWEROFF', 9 => 'UNDEPLOYED', 10 => 'CLONING', 11 => 'CLONING_FAILURE'
    }.freeze
    LCM_RUNNING = 3
    # The numbers of oned's LCM states that the real OneFlow lists as failures.
    LCM_FAILURES = [36, 37, 38, 39, 40, 41, 42, 44, 46, 47, 48, 49, 50, 61].freeze

end
