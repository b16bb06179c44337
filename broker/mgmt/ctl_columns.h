/*
 * ctl_columns: the columns of warrenctl's lists, for the node that fills them and for the tool that
 * asks for them. The names are rabbitmqctl's, and some more.
 */
#ifndef WARREN_CTL_COLUMNS_H
#define WARREN_CTL_COLUMNS_H

#define CTL_QUEUE_COLUMNS(X)                                                                       \
    X(name)                                                                                        \
    X(vhost)                                                                                       \
    X(durable)                                                                                     \
    X(auto_delete)                                                                                 \
    X(arguments)                                                                                   \
    X(policy)                                                                                      \
    X(operator_policy)                                                                             \
    X(effective_policy_definition)                                                                 \
    X(pid)                                                                                         \
    X(owner_pid)                                                                                   \
    X(exclusive)                                                                                   \
    X(exclusive_consumer_pid)                                                                      \
    X(exclusive_consumer_tag)                                                                      \
    X(messages_ready)                                                                              \
    X(messages_unacknowledged)                                                                     \
    X(messages)                                                                                    \
    X(messages_ready_ram)                                                                          \
    X(messages_unacknowledged_ram)                                                                 \
    X(messages_ram)                                                                                \
    X(messages_paged_out)                                                                          \
    X(messages_persistent)                                                                         \
    X(message_bytes)                                                                               \
    X(message_bytes_ready)                                                                         \
    X(message_bytes_unacknowledged)                                                                \
    X(message_bytes_ram)                                                                           \
    X(message_bytes_paged_out)                                                                     \
    X(message_bytes_persistent)                                                                    \
    X(head_message_timestamp)                                                                      \
    X(disk_reads)                                                                                  \
    X(disk_writes)                                                                                 \
    X(consumers)                                                                                   \
    X(consumer_utilisation)                                                                        \
    X(consumer_capacity)                                                                           \
    X(memory)                                                                                      \
    X(slave_pids)                                                                                  \
    X(synchronised_slave_pids)                                                                     \
    X(mirror_pids)                                                                                 \
    X(synchronised_mirror_pids)                                                                    \
    X(mirror_lag)                                                                                  \
    X(state)                                                                                       \
    X(type)                                                                                        \
    X(leader)                                                                                      \
    X(members)                                                                                     \
    X(online)

#define CTL_EXCHANGE_COLUMNS(X)                                                                    \
    X(name)                                                                                        \
    X(vhost)                                                                                       \
    X(type)                                                                                        \
    X(durable)                                                                                     \
    X(auto_delete)                                                                                 \
    X(internal)                                                                                    \
    X(arguments)                                                                                   \
    X(policy)

#define CTL_BINDING_COLUMNS(X)                                                                     \
    X(source_name)                                                                                 \
    X(source_kind)                                                                                 \
    X(destination_name)                                                                            \
    X(destination_kind)                                                                            \
    X(routing_key)                                                                                 \
    X(arguments)

#define CTL_CONNECTION_COLUMNS(X)                                                                  \
    X(pid)                                                                                         \
    X(name)                                                                                        \
    X(port)                                                                                        \
    X(host)                                                                                        \
    X(peer_port)                                                                                   \
    X(peer_host)                                                                                   \
    X(ssl)                                                                                         \
    X(ssl_protocol)                                                                                \
    X(ssl_key_exchange)                                                                            \
    X(ssl_cipher)                                                                                  \
    X(ssl_hash)                                                                                    \
    X(peer_cert_subject)                                                                           \
    X(peer_cert_issuer)                                                                            \
    X(peer_cert_validity)                                                                          \
    X(state)                                                                                       \
    X(channels)                                                                                    \
    X(protocol)                                                                                    \
    X(auth_mechanism)                                                                              \
    X(user)                                                                                        \
    X(vhost)                                                                                       \
    X(timeout)                                                                                     \
    X(frame_max)                                                                                   \
    X(channel_max)                                                                                 \
    X(recv_oct)                                                                                    \
    X(send_oct)                                                                                    \
    X(send_pend)                                                                                   \
    X(recv_cnt)                                                                                    \
    X(send_cnt)                                                                                    \
    X(client_properties)                                                                           \
    X(connected_at)

#define CTL_CHANNEL_COLUMNS(X)                                                                     \
    X(pid)                                                                                         \
    X(connection)                                                                                  \
    X(name)                                                                                        \
    X(number)                                                                                      \
    X(user)                                                                                        \
    X(vhost)                                                                                       \
    X(transactional)                                                                               \
    X(confirm)                                                                                     \
    X(consumer_count)                                                                              \
    X(messages_unacknowledged)                                                                     \
    X(messages_uncommitted)                                                                        \
    X(acks_uncommitted)                                                                            \
    X(messages_unconfirmed)                                                                        \
    X(prefetch_count)                                                                              \
    X(global_prefetch_count)

#define CTL_CONSUMER_COLUMNS(X)                                                                    \
    X(queue_name)                                                                                  \
    X(channel_pid)                                                                                 \
    X(consumer_tag)                                                                                \
    X(ack_required)                                                                                \
    X(prefetch_count)                                                                              \
    X(active)                                                                                      \
    X(activity_status)                                                                             \
    X(arguments)

#endif
