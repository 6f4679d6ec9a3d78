// Greets from C.

#include <string.h>

#include "greet.h"

static const char GREETING[] = "Hello from C!\n";

static wasi_http_types_own_fields_t headers(void) {
    wasi_http_types_field_name_t name;
    greet_string_dup(&name, "content-type");
    static const char value[] = "text/plain; charset=utf-8";
    wasi_http_types_tuple2_field_name_field_value_t entry = {name, {(uint8_t *)value, sizeof value - 1}};
    wasi_http_types_list_tuple2_field_name_field_value_t entries = {&entry, 1};
    wasi_http_types_own_fields_t fields;
    wasi_http_types_header_error_t error;
    bool good = wasi_http_types_static_fields_from_list(&entries, &fields, &error);
    greet_string_free(&name);
    return good ? fields : wasi_http_types_constructor_fields();
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t request,
    exports_wasi_http_incoming_handler_own_response_outparam_t response_out) {
    wasi_http_types_incoming_request_drop_own(request);

    wasi_http_types_result_own_outgoing_response_error_code_t answer = {.is_err = false};
    answer.val.ok = wasi_http_types_constructor_outgoing_response(headers());
    wasi_http_types_own_outgoing_body_t body;
    wasi_http_types_method_outgoing_response_body(wasi_http_types_borrow_outgoing_response(answer.val.ok), &body);
    wasi_http_types_static_response_outparam_set(response_out, &answer);

    wasi_http_types_own_output_stream_t stream;
    wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream);
    greet_list_u8_t bytes = {(uint8_t *)GREETING, strlen(GREETING)};
    wasi_io_streams_stream_error_t broken;
    wasi_io_streams_method_output_stream_blocking_write_and_flush(wasi_io_streams_borrow_output_stream(stream), &bytes, &broken);
    // A body can only be finished once its stream is gone.
    wasi_io_streams_output_stream_drop_own(stream);
    wasi_http_types_error_code_t error;
    wasi_http_types_static_outgoing_body_finish(body, NULL, &error);
}
