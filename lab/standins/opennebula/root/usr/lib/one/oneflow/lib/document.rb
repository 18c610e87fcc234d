# Documents of oned whose BODY is JSON: services (type 100) and service templates (type 101).

require_relative 'states'

module Standin

    module OneFlow

        SERVICE = 100
        TEMPLATE = 101
        ALL = -2
        ALL_PAGES = -1

        class Document

            attr_reader :id, :body, :hash

            # @raise [OneError]
            def self.read(client, kind, id)
                document = new(client, Values.hash(client.document('document.info', id.to_i, false)))
                return document if document.hash['TYPE'].to_i == kind

                raise OneError.new("[one.document.info] Error getting document [#{id}].", OneError::NO_EXISTS)
            end

            def self.allocate(client, kind, name, body)
                read(client, kind, client.call('document.allocate', xml(body, name), kind))
            end

            def self.pool(client, kind)
                root = client.document('documentpool.info', ALL, ALL_PAGES, ALL_PAGES, kind)
                [Values.hash(root)].flat_map {|pool| pool.is_a?(Hash) ? [pool['DOCUMENT']].flatten.compact : [] }
                                   .map {|hash| new(client, hash) }
            end

            def self.xml(body, name = nil)
                json = JSON.generate(body).gsub(']]>', ']]\u003e')
                "<TEMPLATE>#{"<NAME>#{name.encode(:xml => :text)}</NAME>" if name}<BODY><![CDATA[#{json}]]></BODY></TEMPLATE>"
            end

            def initialize(client, hash)
                @client = client
                @hash = hash
                @id = hash['ID'].to_i
                @body = JSON.parse(hash.dig('TEMPLATE', 'BODY') || '{}')
            end

            def save
                @client.call('document.update', @id, Document.xml(@body), 0)
            end

            def delete
                @client.call('document.delete', @id)
            end

            def owner
                @hash['UNAME']
            end

            def to_h
                { 'DOCUMENT' => @hash.merge('TEMPLATE' => @hash['TEMPLATE'].merge('BODY' => @body)) }
            end

        end

        # A service with its roles.
        class Service < Document

            def roles
                @body['roles']
            end

            def role(name)
                roles.find {|role| role['name'] == name }
            end

            def state
                SERVICE_STATES[@body['state'].to_i]
            end

            def state=(name)
                @body['state'] = SERVICE_STATES.index(name)
                (@body['log'] ||= []) << { 'timestamp' => Time.now.to_i, 'severity' => 'I', 'message' => "New state: #{name}" }
            end

            def role_state(role)
                ROLE_STATES[role['state'].to_i]
            end

            def set_role(role, name)
                role['state'] = ROLE_STATES.index(name)
            end

            def all_roles?(name)
                roles.all? {|role| role_state(role) == name }
            end

            def report_ready?
                @body['ready_status_gate'] == true
            end

            def straight?
                @body['deployment'] == 'straight'
            end

            # Roles to start now: all that wait, or under `straight` those whose parents run (strategy/straight.rb).
            def deployable
                roles.select do |role|
                    next false unless role_state(role) == 'PENDING'

                    !straight? || parents(role).all? {|name| role(name) && role_state(role(name)) == 'RUNNING' }
                end
            end

            # Roles to end now: all that live, or under `straight` those that are nobody's parent any more.
            def removable
                needed = straight? ? roles.reject {|role| role_state(role) == 'DONE' }.flat_map {|role| parents(role) } : []
                roles.reject do |role|
                    ['UNDEPLOYING', 'DONE', 'FAILED_UNDEPLOYING'].include?(role_state(role)) || needed.include?(role['name'])
                end
            end

            def parents(role)
                role['parents'] || []
            end

        end

    end

end
