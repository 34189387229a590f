/* The C twin of consumer.cpp: explains one frame and writes what it found as the same JSON.
 *   in_c PROGRAM BACKEND BACKENDS LIBRARY FRAME HEIGHT WIDTH */
#include <saccade/saccade.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static saccade_error error;

static int failed(void) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
}

static void write_numbers(const char* name, const float* values, int64_t count) {
    int64_t i;
    printf("\"%s\": [", name);
    for (i = 0; i < count; ++i) printf("%s%.9g", i > 0 ? ", " : "", (double)values[i]);
    printf("], ");
}

static uint8_t* read_frame(const char* path, size_t bytes) {
    FILE* file = fopen(path, "rb");
    uint8_t* data = malloc(bytes);
    const size_t got = file != NULL && data != NULL ? fread(data, 1, bytes, file) : 0;
    if (file != NULL) fclose(file);
    if (got == bytes) return data;
    free(data);
    return NULL;
}

static int explain(saccade_session* session, const saccade_contract* contract, const saccade_image* frame,
                   uint8_t* pixels) {
    saccade_request request = {0};
    saccade_result result = {0};
    saccade_region region;
    saccade_canvas canvas = {0};
    saccade_map map;
    float high;
    unsigned long sum = 0;
    int64_t i;

    request.size = sizeof request;
    request.timeout_us = 60000000;
    result.size = sizeof result;
    if (saccade_session_run(session, frame, 1, &request, &result, &error) != SACCADE_OK) return failed();

    map.data = result.maps[0];
    map.height = contract->maps[0].shape[0];
    map.width = contract->maps[0].shape[1];
    if (saccade_map_range(&map, 1, NULL, &high, &error) != SACCADE_OK) return failed();
    if (saccade_find_region(&map, high / 2, contract->height, contract->width, &result.views[0], &region, &error) !=
        SACCADE_OK)
        return failed();
    canvas.data = pixels;
    canvas.height = frame->height;
    canvas.width = frame->width;
    if (saccade_draw_overlay(frame, &map, &result.views[0], NULL, &canvas, &error) != SACCADE_OK) return failed();

    printf("{\"runtime\": \"%s\", ", contract->runtime);
    write_numbers("logits", result.logits, contract->num_outputs);
    write_numbers("map", map.data, map.height * map.width);
    for (i = 0; i < frame->height * frame->width * 3; ++i) sum = (sum * 31 + pixels[i]) % 1000000007;
    printf("\"prediction\": %ld, \"confidence\": %.9g, \"score\": %.9g, \"area\": %.9g, ", (long)result.prediction[0],
           (double)result.confidence[0], (double)result.score[0], region.area);
    printf("\"box\": [%.9g, %.9g, %.9g, %.9g], \"picture\": %lu}\n", region.box.left, region.box.top, region.box.right,
           region.box.bottom, sum);
    return 0;
}

int main(int count, char** words) {
    saccade_open_options options = {0};
    saccade_program* program = NULL;
    saccade_session* session = NULL;
    saccade_image frame = {0};
    uint8_t *data, *pixels;
    size_t bytes;
    int code;

    if (count != 8) {
        fprintf(stderr, "expected 7 arguments\n");
        return 2;
    }
    frame.height = atol(words[6]);
    frame.width = atol(words[7]);
    frame.pixels = SACCADE_RGB8;
    bytes = (size_t)(frame.height * frame.width * 3);
    data = read_frame(words[5], bytes);
    pixels = malloc(bytes);
    frame.data = data;

    options.size = sizeof options;
    options.backend = words[2];
    options.backends = *words[3] != '\0' ? words[3] : NULL; /* null: beside libsaccade */
    options.library = *words[4] != '\0' ? words[4] : NULL;
    if (saccade_program_open(words[1], &options, &program, &error) != SACCADE_OK ||
        saccade_session_open(program, &session, &error) != SACCADE_OK) {
        code = failed();
    } else {
        code = explain(session, saccade_program_contract(program), &frame, pixels);
    }
    saccade_session_close(session);
    saccade_program_close(program);
    free(data);
    free(pixels);
    return code;
}
