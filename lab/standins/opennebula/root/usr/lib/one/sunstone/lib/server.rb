# Routes of the legacy Sunstone: a session cookie, a token against forged requests, and what oned answers as JSON.

require 'pp'
require 'securerandom'
require_relative 'vnc'

module Standin

    module Sunstone

        CONFIG = "#{ETC_LOCATION}/sunstone-server.conf".freeze
        AUTH = "#{VAR_LOCATION}/.one/sunstone_auth".freeze
        COOKIE = 'sunstone'.freeze
        HTML = { 'Content-Type' => 'text/html;charset=utf-8' }.freeze
        FREE = ['/', '/login', '/vnc', '/spice', '/version', '/ws', '/vmrc', '/guac'].freeze
        POOLS = {
            'host' => ['hostpool.info'], 'cluster' => ['clusterpool.info'], 'datastore' => ['datastorepool.info'],
            'zone' => ['zonepool.info'], 'user' => ['userpool.info'], 'vm' => ['vmpool.info', -2, -1, -1, -1],
            'vmtemplate' => ['templatepool.info', -2, -1, -1], 'image' => ['imagepool.info', -2, -1, -1]
        }.freeze
        SINGLE = { 'vmtemplate' => 'template' }.freeze
        YES_NO = ->(value) { [true, false, 'yes', 'no', 'only', nil].include?(value) }
        OPTIONAL = ->(value) { value.nil? || value.is_a?(String) }
        LOG = { :level => Settings::LEVEL, :system => ->(value) { ['file', 'syslog'].include?(value) } }.freeze
        GRAMMAR = {
            :tmpdir => String, :one_xmlrpc => Settings::URL, :one_xmlrpc_timeout => Settings::COUNT,
            :subscriber_endpoint => Settings::ZEROMQ, :host => String, :port => Settings::PORT,
            :max_upload_file_size => Settings::COUNT, :proxy => OPTIONAL, :no_proxy => OPTIONAL,
            :sessions => ->(value) { ['memory', 'memcache', 'memcache-dalli', nil].include?(value) },
            :memcache_host => String, :memcache_port => Settings::PORT, :memcache_namespace => String,
            :env => ->(value) { ['prod', 'dev'].include?(value) }, :log => LOG, :debug_level => Settings::LEVEL,
            :auth => ->(value) { ['sunstone', 'opennebula', 'x509', 'remote'].include?(value) },
            :core_auth => ->(value) { ['cipher', 'x509'].include?(value) },
            :encode_user_password => Settings::BOOLEAN, :two_factor_auth_issuer => String, :webauthn_origin => String,
            :webauthn_rpname => String, :webauthn_rpid => String, :webauthn_timeout => Settings::COUNT,
            :webauthn_algorithms => Settings::TEXTS, :vnc_proxy_port => ->(value) { value.to_s.match?(/\A(\S+:)?\d+\z/) },
            :vnc_client_port => Settings::PORT, :vnc_proxy_support_wss => YES_NO, :vnc_proxy_cert => OPTIONAL,
            :vnc_proxy_key => OPTIONAL, :vnc_proxy_ipv6 => Settings::BOOLEAN, :vnc_request_password => Settings::BOOLEAN,
            :allow_vnc_federation => YES_NO, :session_expire_time => Settings::COUNT, :keep_me_logged => Settings::BOOLEAN,
            :lang => String, :table_order => ->(value) { ['asc', 'desc'].include?(value) }, :mode => String,
            :get_extended_vm_info => Settings::BOOLEAN, :get_extended_vm_monitoring => Settings::BOOLEAN,
            :paginate => String, :leases => Settings::ANY, :disable_guacamole_info_header => YES_NO,
            :threshold_min => Settings::COUNT, :threshold_low => Settings::COUNT, :threshold_high => Settings::COUNT,
            :support_fs => Settings::TEXTS, :oneflow_server => Settings::URL, :routes => Settings::TEXTS,
            :marketplace_url => OPTIONAL, :token_remote_support => OPTIONAL, :private_fireedge_endpoint => Settings::URL,
            :public_fireedge_endpoint => Settings::URL
        }.freeze

        def self.start
            puts Standin.banner('Sunstone')
            conf = Settings.load(CONFIG, GRAMMAR, :defaults => { :host => 'localhost', :port => 8080 })
            pp(conf)
            logger = Journal.open('sunstone', conf.dig(:log, :level) || conf[:debug_level] || 3, conf.dig(:log, :system))
            logger.info(Standin.banner('Sunstone'))
            unless ['memory', nil].include?(conf[:sessions])
                abort "sessions in #{conf[:sessions]} are not part of this stand-in"
            end
            begin
                admin = ServerAdmin.new(AUTH, ENV['ONE_XMLRPC'] || conf[:one_xmlrpc] || 'http://localhost:2633/RPC2')
            rescue StandardError => e
                logger.error('Error initializing authentication system')
                logger.error(e.message)
                exit(-1)
            end
            Server.new(conf, admin, logger).run
        end

        class Server

            Session = Struct.new(:user, :id, :ip, :csrf, keyword_init: true)

            def initialize(conf, admin, logger)
                @conf = conf
                @admin = admin
                @logger = logger
                @sessions = {}
                @lock = Mutex.new
                @web = Web.new(Standin.banner('Sunstone'), logger)
                @web.before {|raw| guard(raw) }
                routes
            end

            def run
                @web.run(@conf[:host], @conf[:port])
            end

            private

            def routes
                @web.route('GET', '/') {|request| session(request.raw) ? home(session(request.raw)) : login_page }
                @web.route('GET', '/login') do |request|
                    session(request.raw) ? [302, '', { 'Location' => '/' }] : login_page
                end
                @web.route('POST', '/login') {|request| login(request) }
                @web.route('POST', '/logout') {|request| logout(request) }
                @web.route('GET', '/version') { [200, { 'version' => Standin.version }] }
                @web.route('GET', '/config') { [200, { 'system_config' => { 'vnc_proxy_port' => @conf[:vnc_proxy_port] } }] }
                @web.route('POST', '/vm') {|request| create(request) }
                @web.route('POST', '/vm/:id/startvnc') {|request| start_vnc(request) }
                @web.route('GET', '/:pool') {|request| pool(request) }
                @web.route('GET', '/:pool/:id') {|request| single(request) }
            end

            def guard(raw)
                return if FREE.include?(raw.path)

                found = session(raw)
                given = URI.decode_www_form(raw.query_string.to_s).to_h['csrftoken']
                given ||= JSON.parse(raw.body.to_s)['csrftoken'] rescue nil # rubocop:disable Style/RescueModifier
                raise Halt.new(401, 'csrftoken') if found.nil? || given != found.csrf
            end

            # The session of the cookie, for the address that logged in.
            def session(raw)
                key = raw.cookies.find {|cookie| cookie.name == COOKIE }&.value
                found = @lock.synchronize { @sessions[key] }
                found if found&.ip == raw.peeraddr.last
            end

            def login(request)
                kind, encoded = request.header('Authorization').to_s.split(' ', 2)
                credentials = kind.to_s.casecmp('basic').zero? ? Base64.decode64(encoded.to_s) : nil
                raise Halt.new(401, '') if credentials.nil?

                user = @admin.foreign(credentials).document('user.info', -1, false)
                key = SecureRandom.hex(32)
                fresh = Session.new(:user => Values.text(user, 'NAME'), :id => Values.text(user, 'ID'),
                                    :ip => request.raw.peeraddr.last, :csrf => SecureRandom.hex(32))
                @admin.client(fresh.user).document('user.info', -1, false)
                @lock.synchronize { @sessions[key] = fresh }
                [204, '', { 'Set-Cookie' => "#{COOKIE}=#{key}; path=/; HttpOnly" }]
            rescue OneError => e
                @logger.error(e.message)
                @logger.info('Unauthorized login attempt') unless e.unreachable?
                raise Halt.new(e.unreachable? ? 500 : 401, '')
            end

            def logout(request)
                key = request.raw.cookies.find {|cookie| cookie.name == COOKIE }&.value
                @lock.synchronize { @sessions.delete(key) }
                [204, '']
            end

            def pool(request)
                method, *arguments = POOLS.fetch(request[:pool]) { raise Halt.new(404, 'no such pool') }
                root = client(request).document(method, *arguments)
                content = Values.hash(root)
                [200, { root.name => content.is_a?(Hash) ? content : {} }]
            rescue OneError => e
                one_error(e)
            end

            def single(request)
                raise Halt.new(404, 'no such resource') unless POOLS.key?(request[:pool]) && request[:id].match?(/\A\d+\z/)

                kind = SINGLE.fetch(request[:pool], request[:pool])
                root = client(request).document("#{kind}.info", request[:id].to_i, false)
                [200, { root.name => Values.hash(root) }]
            rescue OneError => e
                one_error(e)
            end

            def create(request)
                template = request.json.dig('vm', 'vm_raw')
                raise Halt.new(500, { 'error' => { 'message' => 'vm_raw is missing' } }) if template.nil?

                id = client(request).call('vm.allocate', template, false)
                [201, { 'VM' => Values.hash(client(request).document('vm.info', id, false)) }]
            rescue OneError => e
                one_error(e)
            end

            def start_vnc(request)
                vm = client(request).document('vm.info', request[:id].to_i, false)
                port = Values.text(vm, 'TEMPLATE/GRAPHICS/PORT')
                host = vm.elements['HISTORY_RECORDS/HISTORY[last()]/HOSTNAME']&.text
                raise Halt.new(400, { 'error' => { 'message' => 'VNC Proxy is not running' } }) unless File.exist?(Vnc::LOCK)
                unless port && host
                    raise Halt.new(400, { 'error' => { 'message' => 'VM has no VNC configured' } })
                end

                [200, { 'password' => Values.text(vm, 'TEMPLATE/GRAPHICS/PASSWD'),
                        'token' => Vnc.token(request[:id], host, port) }]
            rescue OneError => e
                one_error(e)
            end

            def one_error(error)
                @logger.error(error.message)
                status = { OneError::AUTHENTICATION => 401, OneError::AUTHORIZATION => 403, OneError::NO_EXISTS => 404 }
                [status.fetch(error.code, 500), { 'error' => { 'message' => error.message } }]
            end

            def client(request)
                @admin.client(session(request.raw).user)
            end

            # --- pages ----------------------------------------------------------------------------------------------

            def login_page
                page('Login', <<~HTML)
                    <form id="login_form"><label>Username <input id="username" type="text"></label>
                    <label>Password <input id="password" type="password"></label>
                    <button id="login_btn">Login</button> <span id="error_box"></span></form>
                    <script>
                    document.getElementById("login_form").addEventListener("submit", async (event) => {
                      event.preventDefault()
                      const text = ["username", "password"].map((id) => document.getElementById(id).value).join(":")
                      const answer = await fetch("/login", {method: "POST", headers: {Authorization: "Basic " + btoa(text)}})
                      if (answer.ok) location = "/"
                      else document.getElementById("error_box").textContent = "Login failed (" + answer.status + ")"
                    })
                    </script>
                HTML
            end

            def home(found)
                page('Hosts', <<~HTML)
                    <table id="hosts"><thead><tr><th>ID</th><th>Name</th><th>State</th></tr></thead><tbody></tbody></table>
                    <script>
                    var csrftoken = "#{found.csrf}"
                    fetch("/host?csrftoken=" + csrftoken).then((answer) => answer.json()).then((pool) => {
                      for (const host of [].concat(pool.HOST_POOL.HOST || [])) {
                        const row = document.querySelector("#hosts tbody").insertRow()
                        for (const key of ["ID", "NAME", "STATE"]) row.insertCell().textContent = host[key]
                      }
                    })
                    </script>
                HTML
            end

            def page(title, content)
                style = 'body{font:15px system-ui,sans-serif;margin:40px auto;max-width:800px}.notice{background:#fff5d6;padding:8px}' \
                        'table{border-collapse:collapse}th,td{border:1px solid #ccc;padding:6px 12px;text-align:left}'
                [200, "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>OpenNebula Sunstone: #{title} " \
                      "(rehearsal stand-in)</title><style>#{style}</style></head><body><p class=\"notice\">" \
                      "#{Standin.banner('Sunstone')}: it shows what oned answers.</p><h1>#{title}</h1>#{content}</body></html>",
                 HTML]
            end

        end

    end

end
