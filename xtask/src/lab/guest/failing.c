/* A release that fails: its own test (UNFIT), or, once it runs, at once (CRASHING) or by never captioning (MUTE). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], "doctor") == 0) {
#ifdef UNFIT
    fputs("golden caption: says nothing\n", stderr);
    return 1;
#else
    return 0;
#endif
  }
#ifdef CRASHING
  fputs("error: this release crashes\n", stderr);
  return 1;
#endif
  /* systemd is told that it runs, as `metalens run` tells it. */
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *path = getenv("NOTIFY_SOCKET");
  if (path != NULL) {
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int client = socket(AF_UNIX, SOCK_DGRAM, 0);
    sendto(client, "READY=1", 7, 0, (struct sockaddr *)&address, sizeof address);
  }
  for (;;) pause();
}
