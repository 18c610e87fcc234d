# What a service template may say (src/oca/ruby/opennebula/flow/service_template.rb), and its defaults.

module Standin

    module OneFlow

        class Invalid < StandardError; end

        module Schema

            DEPLOYMENTS = ['none', 'straight'].freeze
            SHUTDOWNS = ['terminate', 'terminate-hard', 'shutdown', 'shutdown-hard'].freeze
            BOOLEAN = ->(value) { [true, false].include?(value) }
            COUNT = ->(value) { value.is_a?(Integer) && value >= 0 }
            SERVICE = {
                'name' => String,
                'deployment' => ->(value) { DEPLOYMENTS.include?(value) },
                'description' => String,
                'shutdown_action' => ->(value) { SHUTDOWNS.include?(value) },
                'ready_status_gate' => BOOLEAN,
                'automatic_deletion' => BOOLEAN,
                'on_hold' => BOOLEAN
            }.freeze
            ROLE = {
                'name' => ->(value) { value.is_a?(String) && value.match?(/\A\w+\z/) },
                'type' => ->(value) { value == 'vm' },
                'cardinality' => COUNT,
                'template_id' => Integer,
                'template_contents' => Hash,
                'parents' => ->(value) { value.is_a?(Array) && value.all?(String) },
                'shutdown_action' => ->(value) { SHUTDOWNS.include?(value) },
                'min_vms' => COUNT,
                'max_vms' => COUNT,
                'cooldown' => COUNT
            }.freeze

            # @return [Hash] the template with defaults
            # @raise [Invalid] with the key
            def self.validate(template)
                check('KEY', template, SERVICE, ['name', 'roles'])
                roles = template['roles']
                raise Invalid, 'KEY: `roles`, must be an Array' unless roles.is_a?(Array)

                roles = roles.map do |role|
                    raise Invalid, 'KEY: `roles`, must hold objects' unless role.is_a?(Hash)

                    check('KEY: `roles`, KEY', role, ROLE, ['name', 'template_id'])
                    { 'type' => 'vm', 'cardinality' => 0 }.merge(role)
                end
                parents(roles)
                { 'deployment' => 'none', 'description' => '', 'ready_status_gate' => false }.merge(template,
                                                                                                   'roles' => roles)
            end

            def self.check(place, values, grammar, needed)
                needed.each {|key| raise Invalid, "#{place}: `#{key}`, this attribute is required" if values[key].nil? }
                grammar.each do |key, rule|
                    next if values[key].nil? || rule === values[key]

                    raise Invalid, "#{place}: `#{key}`, cannot be #{values[key].inspect}"
                end
            end

            # Names must be different, parents must exist, and nobody may wait for itself.
            def self.parents(roles)
                names = roles.map {|role| role['name'] }
                raise Invalid, 'Role name already exists' if names.uniq.size != names.size

                done = []
                until done.size == roles.size
                    free = roles.reject {|role| done.include?(role['name']) }
                                .select {|role| ((role['parents'] || []) - done).empty? }
                    if free.empty?
                        left = (names - done).join(', ')
                        raise Invalid, "parents of #{left} do not exist or wait for each other"
                    end
                    done.concat(free.map {|role| role['name'] })
                end
            end

            private_class_method :check, :parents

        end

    end

end
